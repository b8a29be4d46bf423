"""Bring a graph into one normal form: loops, composites, identities, constants, unused nodes."""
