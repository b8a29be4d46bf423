"""Profiles of a network: the cost of each layer and kind of operator, memory, program phases."""
