"""From a plan to files: objects, libraries, C, and what surrounds them."""
