"""Facts about machines: cores, instruction sets, platforms, boards; targets combine them."""
