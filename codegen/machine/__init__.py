"""Facts about machines: cores, instruction sets, platforms and boards. A target combines them."""
