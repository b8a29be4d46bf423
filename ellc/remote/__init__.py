"""Identifies a board, copies networks to it and runs them there, all through the system's `ssh`."""
