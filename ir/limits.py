"""Bounds that every reader of model files enforces, since a file may be damaged or hostile.

Reading may take memory and time in proportion to the size of the file, not to numbers that the
file contains.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ellc.ir.errors import EllcError

MOST_AXES = 16
"""The maximum number of axes of a tensor in a file. Importers may split axes; numpy allows 64."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what a model file may contain; they are checked before memory is allocated.

    The defaults are far above what any published network needs. A service that reads untrusted
    files should pass smaller limits.
    """

    file_bytes: int = 2 << 30
    """Size of the file on disk."""
    unpacked_bytes: int = 2 << 30
    """Size of the text after unzipping."""
    growth_ratio: int = 64
    """Bytes of content per byte on disk, in a zip file or a file with holes. Trained weights need 1
    to 4. The first `small_bytes` of the content do not count."""
    small_bytes: int = 1 << 20
    """Bytes of content to which `growth_ratio` does not apply."""
    zip_members: int = 1000
    """Files in one zip."""
    text_bytes: int = 16 << 20
    """Size of a graph's text, of an index of weights, of a manifest."""
    pixels: int = 1 << 26
    """Pixels of one picture."""
    nesting_depth: int = 64
    """Nesting depth of objects and arrays."""
    values: int = 250_000
    """Number of objects, strings and single numbers in an `.ell` archive. A layer takes 10 to 30 of
    them; a flat array of numbers counts as one."""
    words: int = 1_000_000
    """Number of words of a graph's text."""
    string_bytes: int = 16 << 20
    """Length of one string."""
    graph_nodes: int = 200_000
    """Nodes of a model, including those of bodies."""
    tensor_elements: int = 1 << 31
    """Elements of one tensor that the file holds or whose shape it declares."""
    filled_elements: int = 1 << 24
    """Elements of a tensor of which the file holds only the shape, and which the reader fills:
    initial states, patterned borders, index maps."""
    computed_elements: int = 1 << 25
    """Elements of all tensors that one import computes or fills, plus their multiply-adds."""

    def product(
        self, dimensions: Iterable[int], *, where: str, what: str = "a tensor", filled: bool = False
    ) -> int:
        """The number of elements of a shape; call this before allocating memory for them.

        Messages call the tensor `what`.

        Raises `EllcError` E203 if a dimension is negative, or if the product of the dimensions that
        are not 0 exceeds `tensor_elements`. If the reader is about to fill the tensor (`filled`),
        the limit is `filled_elements`.
        """
        name = "filled_elements" if filled else "tensor_elements"
        limit: int = getattr(self, name)
        total = without_zeros = 1
        for size in dimensions:
            if size < 0:
                raise EllcError(
                    f"{what} has the negative dimension {size}", code="E203", where=where
                )
            total *= size
            # The other extents must be within the limit even if one is 0.
            without_zeros *= max(size, 1)
            if without_zeros > limit:
                raise EllcError(
                    f"{what} would have more than {limit} elements",
                    code="E203",
                    where=where,
                    hint=f"the file is damaged, or raise Limits.{name}",
                )
        return total


DEFAULT_LIMITS = Limits()
