"""Writes the files of a plan: objects, libraries, C, and the other files of a package."""
