"""Writes the files around a compiled network: Python module, manifest, CMake file, demo, wheel."""
