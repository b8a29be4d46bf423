"""Proves that an assembly function computes what its source in kernel IR computes."""
