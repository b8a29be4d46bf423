"""Lower convolutions to matrix products if the network computes their weights.

Kernels of convolutions need weights that were packed at compile time. For computed weights, the
elements of each window are copied into a row (im2col), and the rows are multiplied by the filters.
"""

from __future__ import annotations

from dataclasses import dataclass

from ellc.ir.errors import EllcError
from ellc.ir.graph import Node
from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import MatMul
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add
from ellc.ir.ops.quantised_conv import IntConv2D, IntMatMul
from ellc.ir.ops.shape import Concat, Reshape, Slice, Transpose
from ellc.ir.rewrite import Editor
from ellc.ir.types import DType

_MOST_TAPS = 4096
"""The maximum number of pixels of a window; each pixel becomes an operator. In practice, windows
have about ten pixels."""


def lower_computed_conv(editor: Editor, node: Node, op: Conv2D | IntConv2D) -> None:
    """Replace a convolution by slices, a concatenation and a matrix product.

    Raises `EllcError` (E302) for windows, operands and attributes that are supported only with
    constant weights.
    """
    step = _Step(editor, node)
    _, w, *bias = node.inputs
    batch, rows, columns, filters = editor.type(node.output).shape
    _, height, width, depth = editor.type(w).shape
    if height * width > _MOST_TAPS:
        raise step.refused(f"a window of at most {_MOST_TAPS} pixels")
    padded = step.padded(op)
    taps = [step.tap(padded, op, i, j) for i in range(height) for j in range(width)]
    pixels, groups, share = batch * rows * columns, op.groups, filters // op.groups
    long = height * width * depth
    windows = step.add(Concat(3), *taps)
    if groups == 1:
        left, right = step.shaped(windows, pixels, long), step.shaped(w, filters, long)
        product = step.add(step.product(op), left, right)
    else:
        split = step.shaped(windows, pixels, height * width, groups, depth)
        left = step.shaped(step.add(Transpose((2, 0, 1, 3)), split), groups, pixels, long)
        right = step.shaped(w, groups, share, long)
        product = step.add(Transpose((1, 0, 2)), step.add(step.product(op), left, right))
    if bias:
        product = step.add(Add(), step.shaped(product, pixels, filters), *bias)
    editor.replace(node, Reshape((batch, rows, columns, filters)), product)


@dataclass(frozen=True, slots=True)
class _Step:
    """Inserts operators before the convolution."""

    editor: Editor
    node: Node

    def add(self, op: Op, *operands: str) -> str:
        """Insert one operator."""
        return self.editor.insert(self.node, op, *operands, source=self.node.source)

    def shaped(self, value: str, *shape: int) -> str:
        """Insert a `Reshape`."""
        return self.add(Reshape(shape), value)

    def padded(self, op: Conv2D | IntConv2D) -> str:
        """The image after a `Pad` with the convolution's padding, if it has any."""
        x, padding = self.node.inputs[0], op.padding
        if padding.is_empty:
            return x
        if len(set(padding.values)) > 1:
            raise self.refused("padding of one value")
        value = float(op.input_zero) if isinstance(op, IntConv2D) else padding.values[0]
        before, after = (0, padding.top, padding.left, 0), (0, padding.bottom, padding.right, 0)
        return self.add(Pad(before, after, value), x)

    def tap(self, padded: str, op: Conv2D | IntConv2D, row: int, column: int) -> str:
        """Insert a slice: the elements that one tap reads at all positions of the window."""
        batch, rows, columns, _ = self.editor.type(self.node.output).shape
        channels = self.editor.type(padded).shape[3]
        first = (0, row * op.dilation[0], column * op.dilation[1], 0)
        return self.add(Slice(first, (batch, rows, columns, channels), (1, *op.stride, 1)), padded)

    def product(self, op: Conv2D | IntConv2D) -> Op:
        """The operator that multiplies [.., windows, taps] by [.., filters, taps] transposed."""
        if isinstance(op, Conv2D):
            return MatMul(False, True)
        if self.editor.type(self.node.inputs[0]).dtype is DType.I16:
            raise self.refused("operands of 8 bits")
        if op.groups > 1 and len(set(op.weight_zero)) > 1:
            raise self.refused("one zero point")
        zero = op.weight_zero if op.groups == 1 else op.weight_zero[:1]
        return IntMatMul(op.input_zero, zero, False, True)

    def refused(self, wanted: str) -> EllcError:
        return EllcError(
            f"'{self.node.op.name}' with computed weights needs {wanted}",
            code="E302",
            where=", ".join(self.node.source),
        )
