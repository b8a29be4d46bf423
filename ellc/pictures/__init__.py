"""Pictures and camera pixels: reading, and preprocessing to a network's numbers."""
