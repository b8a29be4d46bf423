"""Finds out what a board is, puts networks on it and runs them there, by the system's `ssh`."""
