"""Pictures and camera pixels: read, described, and made into a network's numbers."""
