"""Trained weights for the zoo's networks, from files of other programs.

A file's tensors are matched with what a network needs by role, shape and order; their names only
tell roles (`running_mean`) and, where a file does not keep the order, the order.
"""

from ellc.zoo.weights.files import SUFFIXES, read_tensors
from ellc.zoo.weights.match import Supply, supply_for
from ellc.zoo.weights.tensors import NamedArray, Slot

__all__ = ["SUFFIXES", "NamedArray", "Slot", "Supply", "read_tensors", "supply_for"]
