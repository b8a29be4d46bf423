"""Bounds that every reader keeps while it reads a file that somebody else made.

A file may cost memory and time in proportion to its size, not to the numbers that it contains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ellc.ir.errors import EllcError

MOST_AXES = 16
"""Axes of a tensor that a file may declare; importers may split them, and numpy has room for 64."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model file may ask for before anything is allocated on its word.

    The defaults take every published network with room to spare; a service that reads files of
    strangers passes smaller ones.
    """

    file_bytes: int = 2 << 30
    """Size of the file on disk."""
    unpacked_bytes: int = 2 << 30
    """Size of the text after unzipping."""
    growth_ratio: int = 64
    """Bytes of content for one byte on disk, zipped or in a file with holes; trained weights take
    one to four. The first `small_bytes` are free."""
    small_bytes: int = 1 << 20
    """Content that no ratio is asked of."""
    zip_members: int = 1000
    """Files in one zip."""
    text_bytes: int = 16 << 20
    """Size of a graph's text, of an index of weights, of a manifest."""
    pixels: int = 1 << 26
    """Pixels of one picture."""
    nesting_depth: int = 64
    """Objects and arrays inside one another."""
    values: int = 250_000
    """Objects, strings and single numbers of an `.ell` archive, of which a layer takes ten to
    thirty; a flat array of numbers counts as one."""
    words: int = 1_000_000
    """Words of a graph's text."""
    string_bytes: int = 16 << 20
    """Length of one string."""
    graph_nodes: int = 200_000
    """Nodes of a graph format's model, those of graphs inside nodes included."""
    tensor_elements: int = 1 << 31
    """Elements of one tensor that the file holds or whose shape it declares."""
    filled_elements: int = 1 << 24
    """Elements of one tensor that the reader has to fill on the file's word alone: initial states,
    patterned borders, index maps."""
    computed_elements: int = 1 << 25
    """Elements of all tensors that one import computes or fills, multiply-adds counted too."""

    def product(
        self, dimensions: Iterable[int], *, where: str, what: str = "tensor", filled: bool = False
    ) -> int:
        """The number of elements of a shape, checked before anybody allocates it.

        Raises `EllcError` E203 when a dimension is negative or the product exceeds
        `tensor_elements`, or `filled_elements` if the reader is about to fill the tensor.
        """
        name = "filled_elements" if filled else "tensor_elements"
        limit: int = getattr(self, name)
        total = most = 1
        for size in dimensions:
            if size < 0:
                raise EllcError(
                    f"a {what} has the negative dimension {size}", code="E203", where=where
                )
            total *= size
            most *= max(size, 1)  # arrays without elements have bounds of the same kind
            if most > limit:
                raise EllcError(
                    f"a {what} would have more than {limit} elements",
                    code="E203",
                    where=where,
                    hint=f"the file is damaged, or raise Limits.{name}",
                )
        return total


DEFAULT_LIMITS = Limits()
