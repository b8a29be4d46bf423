"""Reads trained weights for the networks of the zoo from files of other programs.

The tensors of a file are matched with the slots of a network by role, shape and order. Names of
tensors are used only to find the role (such as `running_mean`) and, if a format does not keep the
order of the tensors, to sort them.
"""

from ellc.zoo.weights.files import SUFFIXES, read_tensors
from ellc.zoo.weights.match import Supply, supply_for
from ellc.zoo.weights.tensors import NamedArray, Slot

__all__ = ["SUFFIXES", "NamedArray", "Slot", "Supply", "read_tensors", "supply_for"]
