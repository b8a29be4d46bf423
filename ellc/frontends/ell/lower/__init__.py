"""Lowers the nodes and layers of an archive to operators of the graph IR."""
