"""Makes a graph that preprocesses camera pixels into a network's numbers.

The graph has two uses. `prepare` evaluates it with the reference, to prepare a picture for a
network that takes numbers. `with_preprocessing` prepends it to a network, so that the compiled
function takes pixels from a camera. `ellc.pictures.pixels` describes what the graph computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.errors import EllcError
from ellc.ir.graph import INPUT_PREFIX, Constant, Graph, Port
from ellc.ir.interp import evaluate
from ellc.ir.ops.pointwise import Add, Cast, Mul, Round
from ellc.ir.ops.quantised import Lookup, Quantize
from ellc.ir.ops.resize import Resize
from ellc.ir.ops.shape import Gather, Reshape, Transpose
from ellc.ir.types import Array, DType, TensorType
from ellc.ir.weights import WeightPool
from ellc.pictures.pixels import ORDER_KEY, Geometry, Preprocessing, is_picture

PREPROCESSING_KEY = "about.input"
"""The metadata key that describes the preprocessing inside a network. The generated header and
Python module show all metadata under `about.*`."""
_WORDS = {"rgb": "red, green, blue", "bgr": "blue, green, red"}
_BYTES = (DType.U8, DType.I8)
_PIXELS = np.arange(256)


def pixel_graph(type: TensorType, how: Preprocessing, weights: WeightPool | None = None) -> Graph:
    """The graph from uint8 pixels [1,rows,columns,channels] to an input of this type.

    The values of an integer input are quantised if its type has a quantisation, rounded to the
    nearest integer (halves to even), and saturated. There is one exception: if the input is
    quantised to 8 bits and the description is plain (`is_plain`), each value is the pixel plus the
    lowest number of the type, as such networks expect from a camera. Raises `EllcError` E714 for a
    type that cannot take a picture.
    """
    geometry = Geometry.of(type)
    inner = (geometry.rows, geometry.columns)
    size = how.size or inner
    table = _table(type, how, geometry.channels) if size == inner else None
    is_same = table is not None and type.dtype is DType.U8 and np.array_equal(table, _PIXELS)
    b = GraphBuilder("pixels", weights)
    shape, quant = (1, *size, geometry.channels), type.quant if is_same else None
    x = b.input("pixels", TensorType(DType.U8, shape, quant=quant))
    if size != inner:
        x = b.add(Resize((1, *inner, geometry.channels), "linear"), b.add(Cast(DType.F32), x))
    if geometry.channels == 3 and how.order != how.pixels:
        x = b.add(Gather(3), x, b.constant(np.array([2, 1, 0], np.int32)))
    if table is None:
        x = _numbers(b, x, type, how)
    elif not is_same:
        x = b.add(Lookup(type.dtype, type.quant), x, b.constant(table))
    if geometry.planes:
        x = b.add(Transpose((0, 3, 1, 2)), x)
    if x.type.shape != type.shape:
        x = b.add(Reshape(type.shape), x)
    b.output("values", x)
    return b.build()


def _table(type: TensorType, how: Preprocessing, channels: int) -> Array | None:
    """A table with the stored integer of an 8-bit input for each of the 256 pixel values.

    The result is None for other types, and if the colours need different tables.
    """
    factor, offset = how.affine(channels, _float_type(type))
    if type.dtype not in _BYTES or np.ptp(factor) != 0 or np.ptp(offset) != 0:
        return None
    limits = np.iinfo(type.dtype.numpy)
    if _holds_pixels(type, how):
        values = _PIXELS + limits.min
    else:
        step, zero = _step(type)
        values = np.rint((factor[0] * _PIXELS + offset[0]) / step) + zero
    return np.asarray(np.clip(values, limits.min, limits.max).astype(type.dtype.numpy))


def _numbers(b: GraphBuilder, x: Ref, type: TensorType, how: Preprocessing) -> Ref:
    """Convert pixels to the numbers of an input; pixels are floats if the picture was scaled."""
    float_type = _float_type(type)
    factor, offset = how.affine(x.type.shape[3], float_type)
    if x.type.dtype is not float_type:
        x = b.add(Cast(float_type), x)
    if np.any(factor != 1):
        x = b.add(Mul(), x, b.constant(factor.astype(float_type.numpy)))
    if np.any(offset != 0):
        x = b.add(Add(), x, b.constant(offset.astype(float_type.numpy)))
    if type.dtype.is_float:
        return x
    if type.quant is None:
        return b.add(Cast(type.dtype), b.add(Round(), x))
    holds_pixels = _holds_pixels(type, how)
    step, zero = (1.0, np.iinfo(type.dtype.numpy).min) if holds_pixels else _step(type)
    operands = np.array([step], np.float32), np.array([zero], np.int32)
    return b.add(Quantize("half_even", type.dtype, type.quant), x, *map(b.constant, operands))


def _float_type(type: TensorType) -> DType:
    """The float type in which the values of an input are computed."""
    return DType.F64 if type.dtype is DType.F64 else DType.F32


def _holds_pixels(type: TensorType, how: Preprocessing) -> bool:
    return type.quant is not None and type.dtype in _BYTES and how.is_plain


def _step(type: TensorType) -> tuple[float, int]:
    """Scale and zero point of an integer type."""
    return (1.0, 0) if type.quant is None else (type.quant.scale[0], type.quant.zero_point[0])


def prepare(pixels: Array, type: TensorType, how: Preprocessing) -> Array:
    """Convert uint8 pixels [rows,columns,channels] to an input of exactly the type `type`."""
    (result,) = evaluate(pixel_graph(type, how), (pixels[np.newaxis],)).outputs
    return result


def with_preprocessing(graph: Graph, how: Preprocessing) -> Graph:
    """Prepend `pixel_graph` to a network, so that its only picture input takes uint8 pixels.

    The metadata of the result describes the new input and, under `PREPROCESSING_KEY`, the
    preprocessing. Raises `EllcError`: E714 if no input takes a picture, E717 if several do, E719 if
    the network already contains preprocessing.
    """
    if PREPROCESSING_KEY in graph.metadata:
        raise has_preprocessing(graph.name)
    port = _picture_port(graph)
    front = pixel_graph(graph.types[port.value], how, graph.weights)
    described = _described_metadata(graph, port, front, how)
    if not front.nodes:
        return replace(graph, metadata=described)
    return replace(_prepended(front, graph, port), metadata=described)


def has_preprocessing(where: str) -> EllcError:
    """The error for preprocessing options if the network already contains preprocessing."""
    return EllcError(
        "the network already contains its preprocessing and takes unchanged pixels",
        code="E719",
        where=where,
        hint="leave out --pixels, --color, --range, --mean, --scale and --resize",
    )


def _picture_port(graph: Graph) -> Port:
    ports = [p for p in graph.inputs if is_picture(graph.types[p.value])]
    if len(ports) == 1:
        return ports[0]
    if ports:
        names = ", ".join(p.name for p in ports)
        raise EllcError(
            f"several inputs take pictures ({names}), but preprocessing is for one input",
            code="E717",
            where=graph.name,
        )
    shapes = ", ".join(str(list(t.shape)) for t in graph.input_types())
    raise EllcError(
        f"no input takes a picture: {shapes}",
        code="E714",
        where=graph.name,
        hint="a picture is [1, rows, columns, channels] or [1, channels, rows, columns], "
        "with 1 or 3 channels",
    )


def _prepended(front: Graph, graph: Graph, port: Port) -> Graph:
    """Replace an input of `graph` by the network `front`, whose input becomes the new input."""
    (source,), (target,) = front.inputs, front.outputs
    names = _fresh_names(front, graph) | {target.value: port.value}
    nodes = tuple(
        replace(
            node,
            inputs=tuple(names[v] for v in node.inputs),
            outputs=tuple(names[v] for v in node.outputs),
            source=(f"preprocessing of {port.name}",),
        )
        for node in front.nodes
    )
    pixels = Port(port.name, names[source.value])
    return replace(
        graph,
        inputs=tuple(pixels if p == port else p for p in graph.inputs),
        nodes=(*nodes, *graph.nodes),
        types={**graph.types, **{names[v]: t for v, t in front.types.items()}},
        constants=(*(Constant(names[c.value], c.key) for c in front.constants), *graph.constants),
    )


def _fresh_names(front: Graph, graph: Graph) -> dict[str, str]:
    """Names that `graph` does not use, by the values of `front` that get them."""
    unused = (name for i in count() if (name := f"p{i}") not in graph.types)
    return dict(zip(front.types, unused, strict=False))  # `unused` is endless


def _described_metadata(
    graph: Graph, port: Port, front: Graph, how: Preprocessing
) -> dict[str, str]:
    """The metadata of `graph`, with keys that describe pixels instead of the former input."""
    kept = {k: v for k, v in graph.metadata.items() if not k.startswith(INPUT_PREFIX)}
    (pixels,) = front.input_types()
    inside = Geometry.of(graph.types[port.value])
    colours = _WORDS[how.pixels] if inside.channels == 3 else "grey"
    shape = "x".join(map(str, pixels.shape[1:]))
    lines = [f"{port.name}: pixels {shape} ({colours}), uint8 0 to 255, as a camera gives them"]
    steps = list(_steps(front, inside, how))
    lines.append(f"inside: {'; '.join(steps)}" if steps else "inside: nothing to do")
    return kept | {ORDER_KEY: how.pixels, PREPROCESSING_KEY: "\n".join(lines)}


def _steps(front: Graph, inside: Geometry, how: Preprocessing) -> Iterator[str]:
    """A text for each step of the preprocessing."""
    (pixels,), (type_,) = front.input_types(), front.output_types()
    if pixels.shape[1:3] != (inside.rows, inside.columns):
        yield f"scaled to {inside.rows}x{inside.columns} (bilinear)"
    if inside.channels == 3 and how.order != how.pixels:
        yield f"channels to {_WORDS[how.order]}"
    factor, offset = how.affine(inside.channels, _float_type(type_))
    if not how.is_plain:
        added = f" + {_numbers_text(offset)}" if np.any(offset) else ""
        yield f"value = pixel * {_numbers_text(factor)}{added}"
    if type_.quant is not None and not _holds_pixels(type_, how):
        step, zero = _step(type_)
        yield f"quantised to {type_.dtype.value} (scale {step:.9g}, zero point {zero})"
    elif type_.quant is not None and type_.dtype is DType.I8:
        yield "pixel - 128"


def _numbers_text(values: Array) -> str:
    shown = [f"{v:.9g}" for v in values.tolist()]
    return shown[0] if len(set(shown)) == 1 else f"({', '.join(shown)})"
