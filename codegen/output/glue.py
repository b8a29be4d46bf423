"""The C code around the kernels: a plan in the form that the templates need."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ellc.codegen.blocks.access import ARENA_ALIGN, WEIGHT_ALIGN, Weight, stored_shape
from ellc.codegen.blocks.calls import BufferArg, WeightArg
from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.foreign_text import CCode, Comment, Identifier, c_code, comment
from ellc.codegen.languages.names import port_names
from ellc.codegen.languages.render import render
from ellc.codegen.machine.cpu_check import CpuCheck, cpu_check
from ellc.codegen.planning.loops import Repeat
from ellc.codegen.planning.plan import Plan, Step
from ellc.ir.graph import INPUT_PREFIX, LABELS_KEY, LAYOUT_KEY, Graph
from ellc.ir.graph import Port as GraphPort
from ellc.ir.printable import visible
from ellc.ir.types import DType, Quant, TensorType
from ellc.ir.weights import content_key

API_VERSION = 1
"""Increased when the C API changes its meaning; part of `NAME_ABI`."""
_PROFILE_FUNCTIONS = tuple(
    f"profile_{word}" for word in ("calls", "kind", "layer", "ns", "reset", "steps")
)
POOL_BYTES = 1024
"""ELLC_POOL_BYTES of runtime_c/ellc_pool.h."""
HASH_LENGTH = 32
_COLOURS = (1, 3, 4)
ABOUT = "about."
"""Metadata under such keys is text for people, shown in the header and the Python module."""
_ABOUT_LINES, _ABOUT_CHARACTERS = 100, 500  # in the comment of the header; the metadata has all

_C_TYPES: dict[Elem, CCode] = {
    Elem.F32: CCode("float"),
    Elem.F64: CCode("double"),
    Elem.I8: CCode("int8_t"),
    Elem.U8: CCode("uint8_t"),
    Elem.I16: CCode("int16_t"),
    Elem.U16: CCode("uint16_t"),
    Elem.I32: CCode("int32_t"),
    Elem.U32: CCode("uint32_t"),
    Elem.I64: CCode("int64_t"),
    Elem.U64: CCode("uint64_t"),
}


@dataclass(frozen=True, slots=True)
class ApiPort:
    """A public input or output. `elements` counts stored elements: bytes of 8 bits if `packed`."""

    name: str
    c_name: Identifier
    c_type: CCode
    dtype: DType
    shape: tuple[int, ...]
    elements: int
    bytes: int
    item_bytes: int
    quantisation: Quant | None
    planes: bool = False
    """Whether an image's channels come before its rows."""

    @property
    def type(self) -> TensorType:
        """Its type in the graph."""
        return TensorType(self.dtype, self.shape, quant=self.quantisation)

    @property
    def packed(self) -> bool:
        """Whether the elements are packed bits."""
        return self.dtype is DType.BIT

    @property
    def rows(self) -> int | None:
        """Rows of an image; None if the port is not an image."""
        return self.shape[2 if self.planes else 1] if self._is_image else None

    @property
    def columns(self) -> int:
        """Columns of an image."""
        return self.shape[3 if self.planes else 2]

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.shape[1 if self.planes else 3]

    @property
    def quant(self) -> tuple[float, int] | None:
        """Scale and zero point, if the whole tensor has one pair."""
        q = self.quantisation
        if q is None or len(q.scale) != 1 or len(q.zero_point) != 1:
            return None
        return float(q.scale[0]), int(q.zero_point[0])

    @property
    def _is_image(self) -> bool:
        return len(self.shape) == 4 and self.shape[0] == 1


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel call as C: `arguments` and `parameter_types` end with a comma if not empty.

    If there is an expression `only_if`, the call is made only if it is true.
    """

    kernel: Identifier
    arguments: CCode
    parameter_types: CCode
    extent: int
    repeat: Repeat | None = None
    only_if: CCode | None = None


@dataclass(frozen=True, slots=True)
class CallSequence:
    """Consecutive calls; `first` is the index of the first one among all steps.

    They are made `trips` times in a row, or once if that is None; by one thread if `alone`.
    """

    trips: int | None
    alone: bool
    first: int
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class ArenaState:
    """Arena bytes that keep their value between calls. `first` points to the initial value."""

    name: str
    offset: int
    bytes: int
    first: CCode | None


@dataclass(frozen=True, slots=True)
class WeightArray:
    """A constant as a C array of its own."""

    name: Identifier
    elem: Elem
    weight: Weight

    @property
    def c_type(self) -> CCode:
        """Type of its elements."""
        return _C_TYPES[self.elem]


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a build that times its steps: at `offset` in the arena, 64 bits each.

    The first counts calls; then there are the nanoseconds of each step. `layers` and `kinds` name
    the steps.
    """

    offset: int
    layers: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The size of all counters."""
        return 8 * (1 + len(self.layers))

    @property
    def types(self) -> tuple[str, ...]:
        """Every kind once, in the order of the steps."""
        return tuple(dict.fromkeys(self.kinds))

    @property
    def type_numbers(self) -> tuple[int, ...]:
        """The index in `types` of each step's kind."""
        return tuple(map(self.types.index, self.kinds))


@dataclass(frozen=True)
class Model:
    """Everything that the templates need to know of a model. Offsets and sizes are in bytes.

    `threads` is the number that a call uses by default; with 1 the code has no threads.
    """

    name: Identifier
    target: str
    inputs: tuple[ApiPort, ...]
    outputs: tuple[ApiPort, ...]
    once: tuple[Call, ...]
    steps: tuple[Call, ...]
    states: tuple[ArenaState, ...]
    weights: tuple[tuple[Weight, int], ...]
    """Constants with their offsets in the weight section; empty in portable C."""
    arrays: tuple[WeightArray, ...]
    """Constants as C arrays, in portable C; empty otherwise."""
    weight_bytes: int
    arena_bytes: int
    pool_offset: int
    threads: int
    metadata: tuple[tuple[str, str], ...]
    description: tuple[Comment, ...]
    hash: str
    cpu: CpuCheck
    labels: tuple[str, ...] = ()
    """Names of the classes of the output `labelled`."""
    labelled: int = 0
    arena_align: int = ARENA_ALIGN
    counters: Counters | None = None

    @property
    def segments(self) -> tuple[CallSequence, ...]:
        """The steps, cut where loops begin and end."""
        segments: list[CallSequence] = []
        for repeat, calls in groupby(self.steps, key=lambda call: call.repeat):
            first = segments[-1].first + len(segments[-1].calls) if segments else 0
            trips, alone = (None, False) if repeat is None else (repeat.trips, repeat.alone)
            segments.append(CallSequence(trips, alone, first, tuple(calls)))
        return tuple(segments)

    @property
    def abi(self) -> int:
        """`interface_hash` of this model: `NAME_ABI`."""
        inputs, outputs = ([(p.name, p.type) for p in x] for x in (self.inputs, self.outputs))
        memory = self.arena_bytes, self.arena_align
        return interface_hash(self.name, *memory, inputs, outputs, dict(self.metadata))

    @property
    def exports(self) -> tuple[str, ...]:
        """The functions of the C API."""
        words = ["abi", "arena_bytes", "destroy", "hash", "init", "init_abi", "predict"]
        words += ["predict_v", "reset", "set_threads"]
        words += ["pool", "share_pool"] if self.threads > 1 else []
        words += _PROFILE_FUNCTIONS if self.counters else []
        return tuple(f"{self.name}_{word}" for word in sorted(words))


def interface_hash(
    name: str,
    arena_bytes: int,
    arena_align: int,
    inputs: Sequence[tuple[str, TensorType]],
    outputs: Sequence[tuple[str, TensorType]],
    metadata: Mapping[str, str],
) -> int:
    """A 32-bit hash that changes whenever a caller compiled with an older header would be wrong.

    It covers ports by name, element type, shape and quantisation, and the metadata that tells how
    pixels become an input.
    """
    pixels = sorted(
        (key, text)
        for key, text in metadata.items()
        if key == LAYOUT_KEY or key.startswith(INPUT_PREFIX)
    )
    ports = ([_port_facts(*port) for port in x] for x in (inputs, outputs))
    facts = [API_VERSION, name, arena_bytes, arena_align, *ports, pixels]
    digest = hashlib.sha256(json.dumps(facts).encode()).digest()
    return int.from_bytes(digest[:4], "little") | 1  # never 0, which marks a destroyed instance


def _port_facts(name: str, type_: TensorType) -> list[object]:
    """The facts about a port that `interface_hash` covers."""
    q = type_.quant
    quant = q and [[float(s) for s in q.scale], [int(z) for z in q.zero_point], q.axis]
    return [name, type_.dtype.value, type_.shape, quant]


def c_type(dtype: DType) -> CCode:
    """C type of the stored elements of a port; packed bits are bytes."""
    return _C_TYPES[Elem.of(dtype)]


def make_model(
    plan: Plan, prefix: str, threads: int = 1, *, portable: bool = False, profile: bool = False
) -> Model:
    """The model of a plan for the templates; kernels' names start with `prefix`, the model's name.

    `portable` is for C that any compiler may compile: constants are arrays of their own types, and
    init does not check the CPU. With `profile` a call counts the time of its steps. Raises
    `ValueError` for a name that is not an identifier.
    """
    graph, name = plan.graph, Identifier(prefix)
    names = port_names([p.name for p in (*graph.inputs, *graph.outputs)], name)
    c_names = iter(names)
    inputs = tuple(_port(graph, p, next(c_names)) for p in graph.inputs)
    outputs = tuple(_port(graph, p, next(c_names)) for p in graph.outputs)
    constants = _ConstantArrays(name) if portable else _ConstantSection(name, plan)
    steps = tuple(_call(plan, constants, s) for s in plan.steps)
    once = tuple(_call(plan, constants, s) for s in plan.once)
    states = tuple(_states(plan, constants))
    arena = plan.arena.arena_bytes
    end = arena + (POOL_BYTES if threads > 1 else 0)
    counters = _counters(plan, end) if profile else None
    return Model(
        name,
        plan.target.name,
        inputs,
        outputs,
        once,
        steps,
        states,
        constants.placed,
        constants.arrays,
        constants.bytes,
        end + (counters.bytes if counters else 0),
        arena,
        threads,
        tuple(graph.metadata.items()),
        _description(inputs, outputs, graph.metadata),
        _hash(plan, name, threads, profile),
        CpuCheck() if portable else cpu_check(plan.target),
        *_labels(outputs, graph.metadata),
        counters=counters,
    )


def _counters(plan: Plan, offset: int) -> Counters:
    layers = tuple(visible("+".join(step.source)) for step in plan.steps)  # programs print them
    return Counters(offset, layers, tuple(step.op for step in plan.steps))


def _labels(outputs: Sequence[ApiPort], metadata: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """The class names in the metadata and the output that they name; none if no output fits."""
    labels = tuple(metadata.get(LABELS_KEY, "").splitlines())
    for index, port in enumerate(outputs):
        is_list = not port.packed and port.elements == max(port.shape, default=1)
        if labels and is_list and len(labels) == port.elements:
            return labels, index
    return (), 0


def header_text(model: Model, version: str) -> str:
    """`NAME.h`."""
    return render("model.h.j2", m=model, version=version)


def source_text(model: Model, version: str, preamble: CCode | None = None) -> str:
    """The C file of the API's functions.

    `preamble` holds kernels and constants of a portable model; without it other objects have them.
    """
    return render(
        "model.c.j2",
        m=model,
        name=model.name,
        cpu=model.cpu,
        version=version,
        preamble=preamble,
    )


def _port(graph: Graph, port: GraphPort, c_name: Identifier) -> ApiPort:
    type_ = graph.types[port.value]
    elem = Elem.of(type_.dtype)
    elements = math.prod(stored_shape(type_))
    return ApiPort(
        port.name,
        c_name,
        _C_TYPES[elem],
        type_.dtype,
        type_.shape,
        elements,
        elements * elem.bytes,
        elem.bytes,
        type_.quant,
        graph.metadata.get(LAYOUT_KEY) == "NCHW" and _may_be_planes(type_),
    )


def _may_be_planes(type_: TensorType) -> bool:
    """Whether channels may be the second axis: not if only the last axis can be colours."""
    shape = type_.shape
    return len(shape) == 4 and not (shape[3] in _COLOURS and shape[1] not in _COLOURS)


class _ConstantSection:
    """Constants in one section that another object defines."""

    arrays: tuple[WeightArray, ...] = ()

    def __init__(self, name: Identifier, plan: Plan) -> None:
        self._name = name
        self._offsets = {weight.key: offset for weight, offset in plan.weights}
        self._placed = list(plan.weights)
        self.bytes = plan.weight_bytes

    @property
    def placed(self) -> tuple[tuple[Weight, int], ...]:
        """Every constant and its offset."""
        return tuple(self._placed)

    def pointer(self, weight: Weight, elem: Elem) -> CCode:
        """C expression of a constant's address."""
        if weight.key not in self._offsets:
            self._offsets[weight.key] = self.bytes
            self._placed.append((weight, self.bytes))
            self.bytes += -(-weight.bytes // WEIGHT_ALIGN) * WEIGHT_ALIGN
        return c_code("({}_weights + {})", self._name, self._offsets[weight.key])


class _ConstantArrays:
    """Constants as C arrays."""

    placed: tuple[tuple[Weight, int], ...] = ()

    def __init__(self, name: Identifier) -> None:
        self._name = name
        self._known: dict[tuple[str, Elem], WeightArray] = {}

    @property
    def arrays(self) -> tuple[WeightArray, ...]:
        """Every constant, once for each type in which it is read."""
        return tuple(self._known.values())

    @property
    def bytes(self) -> int:
        """The size of all constants."""
        return sum(array.weight.bytes for array in self._known.values())

    def pointer(self, weight: Weight, elem: Elem) -> CCode:
        """C expression of a constant's address."""
        new = WeightArray(Identifier(f"{self._name}_weights{len(self._known)}"), elem, weight)
        return self._known.setdefault((weight.key, elem), new).name


def _call(plan: Plan, constants: _ConstantSection | _ConstantArrays, step: Step) -> Call:
    arguments, types = CCode(), CCode()
    for param, arg in zip(step.call.kernel.params, step.call.placed_args, strict=True):
        kind = CCode("void *" if param.writable else "const void *")
        if isinstance(arg, WeightArg):
            pointer = constants.pointer(arg.weight, param.elem)
            if arg.offset_bytes:
                pointer = c_code("((const unsigned char *){} + {})", pointer, arg.offset_bytes)
        else:
            pointer = _pointer(plan, arg)
        types = c_code("{}{}, ", types, kind)
        arguments = c_code("{}({}){}, ", arguments, kind, pointer)
    kernel = Identifier(step.call.kernel.name)
    return Call(kernel, arguments, types, step.call.extent, step.repeat, _only_if(plan, step))


def _only_if(plan: Plan, step: Step) -> CCode | None:
    condition = None
    for guard in step.guards:
        flag = c_code("{}*{}", CCode() if guard.wanted else CCode("!"), _pointer(plan, guard.flag))
        condition = flag if condition is None else c_code("{} && {}", condition, flag)
    return condition


def _pointer(plan: Plan, arg: BufferArg) -> CCode:
    moved = c_code(" + f->trip * {}", arg.trip_bytes) if arg.trip_bytes else CCode()
    match arg.buffer.kind:
        case "input":
            return c_code("(f->in[{}] + {}{})", arg.buffer.index, arg.offset_bytes, moved)
        case "output":
            return c_code("(f->out[{}] + {}{})", arg.buffer.index, arg.offset_bytes, moved)
        case _:
            offset = plan.arena_offset(arg.buffer) + arg.offset_bytes
            return c_code("(f->arena + {}{})", offset, moved)


def _states(plan: Plan, constants: _ConstantSection | _ConstantArrays) -> Iterator[ArenaState]:
    for state in plan.graph.states:
        type_ = plan.graph.types[state.current]
        data = np.asarray(stored_array(plan.graph.weights[state.key], type_.dtype), order="C")
        first = None
        if data.reshape(-1).view(np.uint8).any():
            weight = Weight(content_key(data), data.nbytes, lambda data=data: data)  # type: ignore[misc]
            first = c_code(
                "((const unsigned char *){})", constants.pointer(weight, Elem.of(type_.dtype))
            )
        offset = plan.arena_offset(plan.accesses[state.current].buffer)
        yield ArenaState(state.name, offset, data.nbytes, first)


def _description(
    inputs: Sequence[ApiPort], outputs: Sequence[ApiPort], metadata: Mapping[str, str]
) -> tuple[Comment, ...]:
    lines = [f"in:  {_port_text(p)}" for p in inputs] + [f"out: {_port_text(p)}" for p in outputs]
    about = [v for key, v in metadata.items() if key.startswith(ABOUT)]
    texts = [line for value in about for line in value.splitlines()]
    lines += [_shortened(line) for line in texts[:_ABOUT_LINES]]
    lines += [f"... and {len(texts) - _ABOUT_LINES} lines more"] * (len(texts) > _ABOUT_LINES)
    return tuple(comment(line) for line in lines)


def _shortened(line: str) -> str:
    return line if len(line) <= _ABOUT_CHARACTERS else f"{line[:_ABOUT_CHARACTERS]}..."


def _port_text(port: ApiPort) -> str:
    shape = "x".join(map(str, port.shape)) or "scalar"
    text = f"{port.name} {shape} {port.c_type}{' (packed signs)' if port.packed else ''}"
    if port.quant is None:
        return text
    scale, zero = port.quant
    return f"{text}, stands for {scale} * (stored {'-' if zero >= 0 else '+'} {abs(zero)})"


def _hash(plan: Plan, name: str, threads: int, profile: bool) -> str:
    """A hash of the network and its compilation, which the manifest and `NAME.py` repeat."""
    digest = hashlib.sha256()
    steps = [
        (s.name, s.call.note, s.call.extent, s.repeat and s.repeat.trips)
        for s in (*plan.once, *plan.steps)
    ]
    target = plan.target
    facts = [API_VERSION, name, threads, target.triple, target.cpu, target.llvm_features, steps]
    facts += ["profile"] if profile else []
    digest.update(json.dumps(facts).encode())
    digest.update(repr((plan.graph.inputs, plan.graph.outputs)).encode())
    digest.update(repr([w.key for w, _ in plan.weights]).encode())
    digest.update(repr(sorted(plan.graph.metadata.items())).encode())
    return digest.hexdigest()[:HASH_LENGTH]
