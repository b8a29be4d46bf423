"""Sets the types of public inputs, and the layout of public inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxInput, OnnxNode
from ellc.frontends.onnx.quantisation import one_quant_of
from ellc.frontends.onnx.tensors import StoredTensor, dtype_of
from ellc.frontends.options import ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.ops.shape import Transpose
from ellc.ir.types import Quant, TensorType

TO_PIXELS = (0, 2, 3, 1)
TO_PLANES = (0, 3, 1, 2)
_COLOURS = (1, 3, 4)


_MOVING = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
_READING = ("DequantizeLinear", "QLinearConv", "QLinearMatMul")


def known_symbols(ports: Iterable[OnnxInput], options: ImportOptions) -> dict[str, int]:
    """The values of symbolic dimensions.

    A symbol takes its value from the shape that the user gives for an input. A symbol that is the
    first dimension of an input is a batch size, which is 1 by default.
    """
    symbols: dict[str, int] = {}
    batches: dict[str, int] = {}
    for port in ports:
        given = options.shapes.get(port.name, ())
        for dimension, size in zip(port.shape or (), given, strict=False):
            if isinstance(dimension, str):
                symbols.setdefault(dimension, size)
        if port.shape and isinstance(port.shape[0], str):
            batches[port.shape[0]] = 1
    return {**batches, **symbols}


def input_type(
    port: OnnxInput,
    options: ImportOptions,
    where: str,
    symbols: Mapping[str, int],
    quant: Quant | None = None,
) -> TensorType:
    """The type of an input.

    An open first dimension becomes 1. A 0 in the file is ambiguous and stays open.
    Raises `EllcError`: E203 for a shape beyond the limits, E212 for an element type that is not
    supported, E213 for any other open dimension or if the user gives a shape of another rank.
    """
    try:
        dtype = dtype_of(port.element_type)
    except Unsupported as error:
        message = f"the input '{port.name}': {error.message}"
        raise EllcError(message, code="E212", where=where) from None
    shape = _shape(port, options, where, symbols)
    options.limits.product(shape, where=f"{where}: input '{port.name}'")
    return TensorType(dtype, shape, quant=quant if dtype.is_integer else None)


def input_quants(
    nodes: Iterable[OnnxNode], constants: Mapping[str, StoredTensor]
) -> dict[str, Quant]:
    """Quantisation parameters of integer tensors, by name, from the nodes that read these.

    Parameters count only if scale and zero point are stored, with one element each.
    If a node only moves elements, the parameters of its result also apply to its operand.
    """
    quants: dict[str, Quant] = {}
    for node in reversed(list(nodes)):
        if node.operator in _MOVING and node.inputs and quants.keys() & set(node.outputs[:1]):
            quants[node.inputs[0]] = quants[node.outputs[0]]
        elif node.operator in _READING and len(node.inputs) > 1:
            stored = [constants[name] for name in node.inputs[1:3] if name in constants]
            if len(stored) == len(node.inputs[1:3]) and all(s.elements == 1 for s in stored):
                quant = one_quant_of(*(s.array() for s in stored))
                quants.update({} if quant is None else {node.inputs[0]: quant})
    return quants


def _shape(
    port: OnnxInput, options: ImportOptions, where: str, symbols: Mapping[str, int]
) -> tuple[int, ...]:
    given = options.shapes.get(port.name)
    if given is None and port.shape is not None:
        known = [symbols.get(d, d) if isinstance(d, str) else d for d in port.shape]
        # A 0 is ambiguous: it means a tensor without elements or, in files of old exporters, any
        # extent.
        if known and not _fixed(known[0]) and known[0] != 0:
            known[0] = 1
        fixed = tuple(d for d in known if isinstance(d, int) and d > 0)
        if len(fixed) == len(known):
            return fixed
    if given is not None and (port.shape is None or len(given) == len(port.shape)):
        return tuple(given)
    shown = "of unknown rank" if port.shape is None else f"[{_spelled(port.shape)}]"
    example = ",".join(
        str(d) if isinstance(d, int) and d > 0 else "1" if axis == 0 else "N"
        for axis, d in enumerate(port.shape or ())
    )
    raise EllcError(
        f"the shape of the input '{port.name}' is {shown}"
        + (f", but the number of given dimensions is {len(given)}" if given is not None else ""),
        code="E213",
        where=where,
        hint=f"--shape {port.name}={example or '1,...'}",
    )


def _fixed(dimension: int | str | None) -> bool:
    return isinstance(dimension, int) and dimension > 0


def _spelled(shape: Sequence[int | str | None]) -> str:
    return ",".join("?" if d is None else str(d) for d in shape)


@dataclass(frozen=True, slots=True)
class Layouts:
    """Decides which ports of rank 4 are transposed from NCHW, the file's usual layout, to NHWC.

    `wanted` is true if the user asked for NHWC. `pixel_inputs` and `pixel_outputs` name the ports
    that are NHWC in the file, because the model itself transposes them to or from NCHW. An input
    whose last axis has the extent 1, 3 or 4 also counts as NHWC, unless its second axis has such an
    extent too. This covers models with a cast before the transpose.
    """

    wanted: bool
    pixel_inputs: frozenset[str]
    pixel_outputs: frozenset[str]

    @staticmethod
    def of(nodes: Sequence[OnnxNode], layout: str) -> Layouts:
        """Find the layouts of a model's ports from its nodes."""
        to_planes: set[str] = set()
        read_otherwise: set[str] = set()
        pixels: set[str] = set()
        for node in nodes:
            permutation = node.attributes.get("perm") if node.operator == "Transpose" else None
            (to_planes if permutation == TO_PLANES else read_otherwise).update(node.inputs)
            if permutation == TO_PIXELS:
                pixels.update(node.outputs)
        return Layouts(layout == "nhwc", frozenset(to_planes - read_otherwise), frozenset(pixels))

    def input(self, emitter: Emitter, name: str, type: TensorType) -> Value:
        """Add a public input, and return a value with the file's layout."""
        has_pixels = name in self.pixel_inputs or _is_pixels(type.shape)
        if not self.wanted or type.rank != 4 or has_pixels:
            return emitter.input(name, type)
        pixels = emitter.input(name, type.with_shape(*(type.shape[a] for a in TO_PIXELS)))
        return emitter.add(Transpose(TO_PLANES), pixels)

    def output(self, emitter: Emitter, name: str, value: Value) -> None:
        """Add a public output in the layout that the user asked for."""
        if self.wanted and value.type.rank == 4 and name not in self.pixel_outputs:
            value = emitter.add(Transpose(TO_PIXELS), value)
        emitter.output(name, value)


def _is_pixels(shape: Sequence[int]) -> bool:
    return len(shape) == 4 and shape[3] in _COLOURS and shape[1] not in _COLOURS
