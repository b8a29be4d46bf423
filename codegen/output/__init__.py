"""Writes the files of a compiled network: objects, libraries, C, and other files of a package."""
