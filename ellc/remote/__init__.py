"""Boards that the system's `ssh` reaches: what they are, and networks put there and run."""
