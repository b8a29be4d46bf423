"""Fold means, scales, biases and batch norms into the weights before or after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Reshape
from ellc.ir.passes.affine import Affine, affine_of, emit_affine, merge
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.common import LARGEST, fits_float, per_channel
from ellc.ir.passes.properties import ALL_USED, LOWERED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor, merged_source
from ellc.ir.types import Array, Padding


@register_pass("fold_affine")
@dataclass(frozen=True)
class FoldAffine(Pass):
    """Merge affines (x * scale + shift with constants), and fold them into weights and biases.

    * Consecutive affines become one.
    * An affine after a `Conv2D` or `Dense` is folded into its weights and bias.
    * The scales of a `BinaryConv2D` are folded into the affine after it.
    * An affine before a `Conv2D` or `Dense`, or before a `Reshape` that flattens the operand of a
      `Dense`, is folded into the weights and bias. An exception is an affine with shifts whose
      operand is computed, for it alone, by a kernel with an epilogue: there, the affine costs only
      a multiply-add, and without it the product would lose precision, because a batch norm centres
      the numbers that are summed. The padding values p of a convolution become (p - shift) / scale
      for each channel. If there is no such value (a scale of 0), or a reader of the affine cannot
      absorb it, the affine stays.

    Constants are computed in float64 from unrounded arrays, and rounded once. Affines are merged,
    and weights that other nodes read, too, are copied, only if this adds at most `growth_bytes`.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
        ALL_USED,
        LOWERED,
    )

    growth_bytes: int = 1 << 16

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            self._sink(editor, node)
        for node in editor.nodes():
            self._hoist(editor, node)
        return editor.graph()

    def _sink(self, editor: Editor, node: Node) -> None:
        """Fold an affine into the node that computes its operand, as often as possible."""
        current: Node | None = node
        while current is not None:
            affine = affine_of(editor, current)
            if affine is None or not editor.used_once(affine.value):
                return
            producer = editor.producer(affine.value)
            if producer is None:
                return
            current = self._joined(editor, producer, current, affine)

    def _joined(self, editor: Editor, first: Node, node: Node, affine: Affine) -> Node | None:
        source = merged_source(first, node)
        inner = affine_of(editor, first)
        result: Node | None = None
        if inner is not None:
            merged = merge(editor, inner, affine, self.growth_bytes)
            if merged is None:
                return None
            result = emit_affine(editor, node, merged, source)
        else:
            match first.op:
                case BinaryConv2D():
                    _take_scales(editor, first, node, affine)
                    return None
                case Conv2D() | Dense():
                    changed = _with_affine_after(editor, first, affine, self.growth_bytes)
                    if changed is None:
                        return None
                    op, operands = changed
                    editor.replace(node, op, *operands, source=source)
                case _:
                    return None
        editor.remove(first)
        return result

    def _hoist(self, editor: Editor, node: Node) -> None:
        """Fold an affine into all its readers or into none."""
        affine = affine_of(editor, node)
        if affine is None or editor.is_kept(node.output):
            return
        if not affine.only_scales and _fits_epilogue(editor, affine.value):
            return
        readers = editor.users(node.output)
        plans = [
            _with_affine_before(editor, r, node.output, affine, self.growth_bytes) for r in readers
        ]
        if not readers or any(p is None for p in plans):
            return
        for plan in plans:
            assert plan is not None
            plan.apply(editor, node, affine.value)
        editor.remove(node)


def _fits_epilogue(editor: Editor, value: str) -> bool:
    """Whether an affine on this value can be in the epilogue of the kernel that computes it."""
    producer = editor.producer(value)
    return producer is not None and producer.op.takes_stages and editor.used_once(value)


@dataclass(frozen=True)
class _Plan:
    """How a reader of an affine changes: `product` gets new constants.

    `view` is the `Reshape` between the two, if there is one; it gets a new operand.
    """

    product: Node
    op: Op
    weights: str
    bias: str | None
    view: Node | None = None

    def apply(self, editor: Editor, node: Node, value: str) -> None:
        if self.view is None:
            data = value
        else:
            data = editor.replace(self.view, self.view.op, value).output
        operands = [data, self.weights, *([self.bias] if self.bias else [])]
        source = merged_source(node, self.product)
        editor.replace(self.product, self.op, *operands, source=source)


@dataclass(frozen=True)
class _Product:
    """The constants of a convolution or dense layer; weights are [outputs, ..., inputs].

    Only `weights()` makes a float64 copy of the weights, which can take hundreds of megabytes and
    is not needed to change a bias.
    """

    editor: Editor
    key: str
    bias: Array
    has_bias: bool

    @staticmethod
    def of(editor: Editor, node: Node) -> _Product | None:
        key, has_bias = node.inputs[1], len(node.inputs) > 2
        if editor.array(key) is None:
            return None
        bias = editor.exact(node.inputs[2]) if has_bias else np.zeros(editor.type(key).shape[0])
        return None if bias is None else _Product(editor, key, bias, has_bias)

    @property
    def outputs(self) -> int:
        """The number of filters or outputs."""
        return self.editor.type(self.key).shape[0]

    def weights(self) -> Array:
        """The weights in float64."""
        exact = self.editor.exact(self.key)
        assert exact is not None
        return exact

    def constants(
        self, weights: Array | None, bias: Array, growth_bytes: int
    ) -> tuple[str, str | None] | None:
        """New constants for the weights (None: the old ones) and the bias, if there is one.

        Returns None if they do not fit into floats or need more than `growth_bytes`.
        """
        editor, type_ = self.editor, self.editor.type(self.key)
        if not fits_float(bias, type_.dtype):
            return None
        key = self.key
        if weights is not None:
            copied = 0 if editor.used_once(key) else type_.elements * type_.dtype.item_bytes
            if copied > growth_bytes or not fits_float(weights, type_.dtype):
                return None
            key = editor.rounded(weights, type_.dtype)
        wanted = self.has_bias or bool(np.any(bias != 0))
        return key, editor.rounded(bias, type_.dtype) if wanted else None


def _with_affine_after(
    editor: Editor, node: Node, affine: Affine, growth_bytes: int
) -> tuple[Op, list[str]] | None:
    """The operator and operands of a product that absorbs an affine after it; None if it cannot."""
    product = _Product.of(editor, node)
    if product is None:
        return None
    scale = per_channel(affine.scale, product.outputs)
    shift = per_channel(affine.shift, product.outputs)
    if scale is None or shift is None:
        return None
    with np.errstate(all="ignore"):
        bias = product.bias * scale + shift
        weights = None
        if not affine.only_shifts:
            old = product.weights()
            weights = old * scale.reshape(-1, *[1] * (old.ndim - 1))
    constants = product.constants(weights, bias, growth_bytes)
    if constants is None:
        return None
    return node.op, [node.inputs[0], *(v for v in constants if v is not None)]


def _take_scales(editor: Editor, first: Node, node: Node, affine: Affine) -> None:
    """Fold the scales of a binary convolution into the affine after it."""
    scales = editor.exact(first.inputs[2]) if len(first.inputs) > 2 else None
    if scales is None:
        return
    inner = Affine(first.output, scales, np.zeros(1))
    merged = merge(editor, inner, affine, growth_bytes=0)
    if merged is not None:
        editor.replace(first, first.op, *first.inputs[:2])
        emit_affine(editor, node, merged, merged_source(first, node))


def _with_affine_before(
    editor: Editor, reader: Node, value: str, affine: Affine, growth_bytes: int
) -> _Plan | None:
    """How a reader absorbs the affine before it; None if it cannot."""
    match reader.op:
        case Conv2D() if reader.inputs.count(value) == 1 and reader.inputs[0] == value:
            return _conv_plan(editor, reader, affine, growth_bytes)
        case Dense() if reader.inputs.count(value) == 1 and reader.inputs[0] == value:
            inputs = editor.type(reader.inputs[1]).shape[1]
            scale, shift = per_channel(affine.scale, inputs), per_channel(affine.shift, inputs)
            return _dense_plan(editor, reader, affine, scale, shift, growth_bytes)
        case Reshape() if editor.used_once(reader.output):
            return _reshaped_plan(editor, reader, affine, growth_bytes)
    return None


def _reshaped_plan(editor: Editor, view: Node, affine: Affine, growth_bytes: int) -> _Plan | None:
    """The plan for a dense layer with a flattening `Reshape` between it and the affine."""
    (reader,) = editor.users(view.output)
    flat = editor.type(view.output)
    if not isinstance(reader.op, Dense) or reader.inputs.count(view.output) != 1:
        return None
    if reader.inputs[0] != view.output or flat.shape[-1] != flat.elements:
        return None
    shape = editor.type(view.inputs[0]).shape
    scale, shift = (np.broadcast_to(a, shape).reshape(-1) for a in (affine.scale, affine.shift))
    return _dense_plan(editor, reader, affine, scale, shift, growth_bytes, view)


def _dense_plan(
    editor: Editor,
    reader: Node,
    affine: Affine,
    scale: Array | None,
    shift: Array | None,
    growth_bytes: int,
    view: Node | None = None,
) -> _Plan | None:
    product = _Product.of(editor, reader)
    if product is None or scale is None or shift is None:
        return None
    with np.errstate(all="ignore"):
        old = product.weights()
        weights = None if affine.only_shifts else old * scale
        bias = product.bias if affine.only_scales else product.bias + old @ shift
    constants = product.constants(weights, bias, growth_bytes)
    return None if constants is None else _Plan(reader, reader.op, *constants, view)


def _conv_plan(editor: Editor, reader: Node, affine: Affine, growth_bytes: int) -> _Plan | None:
    op = reader.op
    assert isinstance(op, Conv2D)
    product = _Product.of(editor, reader)
    channels = editor.type(reader.inputs[0]).shape[3]
    scale, shift = per_channel(affine.scale, channels), per_channel(affine.shift, channels)
    if product is None or scale is None or shift is None:
        return None
    padding = moved_padding(op.padding, scale, shift)
    if padding is None:
        return None
    filters = product.outputs
    # Filter f reads the channels of its group: [filters, channels / groups].
    own_scale, own_shift = [
        np.repeat(v.reshape(op.groups, -1), filters // op.groups, 0) for v in (scale, shift)
    ]
    with np.errstate(all="ignore"):
        old = product.weights()
        weights = None if affine.only_shifts else old * own_scale[:, None, None, :]
        bias = product.bias + np.einsum("fijc,fc->f", old, own_shift)
    constants = product.constants(weights, bias, growth_bytes)
    if constants is None:
        return None
    moved = Conv2D(op.stride, padding, op.dilation, op.groups)
    return _Plan(reader, moved, *constants)


def moved_padding(padding: Padding, scale: Array, shift: Array) -> Padding | None:
    """The padding whose values p satisfy p * scale + shift = the values of `padding`.

    `scale` and `shift` are vectors over the channels. None if there is no such padding.
    """
    if padding.is_empty:
        return padding
    wanted = np.broadcast_to(np.array(padding.values, np.float64), scale.shape)
    still = scale == 0
    if np.any(still & (wanted != shift)):
        return None
    values = np.where(still, 0.0, (wanted - shift) / np.where(still, 1.0, scale))
    if not np.all(np.abs(values) < LARGEST):
        return None
    return Padding.of(padding.amounts, values.tolist())
