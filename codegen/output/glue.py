"""Turns a plan into a `Model`, from which templates make the C code around the kernels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ellc.codegen.blocks.access import Buffer, Weight, stored_shape
from ellc.codegen.blocks.calls import BufferArg, WeightArg
from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.foreign_text import CCode, Comment, Identifier, c_code, comment
from ellc.codegen.languages.names import distinct_names, identifier, port_names
from ellc.codegen.languages.render import render
from ellc.codegen.machine.cpu_check import CpuCheck, cpu_check
from ellc.codegen.output.model import (
    API_VERSION,
    ARENA,
    ApiPort,
    ArenaRegion,
    ArenaState,
    Call,
    Counters,
    Model,
    WeightArray,
    c_type,
)
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.threads import POOL_BYTES, grains
from ellc.ir.graph import LAYOUT_KEY, Graph, class_labels
from ellc.ir.graph import Port as GraphPort
from ellc.ir.printable import visible
from ellc.ir.types import TensorType
from ellc.ir.weights import content_key

HASH_LENGTH = 32
_COLOURS = (1, 3, 4)
ABOUT = "about."
"""Metadata whose keys start with this is text for people; header and Python module show it."""
# The header shows at most this many lines, and characters per line; the metadata contains all.
_ABOUT_LINES, _ABOUT_CHARACTERS = 100, 500


def make_model(
    plan: Plan,
    prefix: str,
    threads: int = 1,
    *,
    portable: bool = False,
    profile: bool = False,
    divide_all: bool = False,
) -> Model:
    """The model of a plan, for the templates.

    `prefix` is the name of the model; the names of its kernels start with it. `portable` is for C
    that any compiler can compile: every constant is an array of its own type, and `init` does not
    check the CPU. With `profile`, calls add up the times of their steps. With `divide_all`, threads
    share every step, even if it has too little work for that: tests need it. Raises `ValueError` if
    the name is not an identifier.
    """
    graph, name = plan.graph, Identifier(prefix)
    names = port_names([p.name for p in (*graph.inputs, *graph.outputs)], name)
    c_names = iter(names)
    inputs = tuple(_port(graph, p, next(c_names)) for p in graph.inputs)
    outputs = tuple(_port(graph, p, next(c_names)) for p in graph.outputs)
    constants = _ConstantArrays(name) if portable else _ConstantSection(name, plan)
    steps = tuple(
        replace(_call(plan, constants, s), grain=1 if divide_all else grain)
        for s, grain in zip(plan.steps, grains(plan, threads), strict=True)
    )
    once = tuple(_call(plan, constants, s) for s in plan.once)
    states = tuple(_states(plan, constants))
    regions = _regions(plan)
    arena = regions[0].bytes if regions else plan.arena.arena_bytes
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
        regions=regions,
        counters=counters,
    )


def _regions(plan: Plan) -> tuple[ArenaRegion, ...]:
    """The regions of the arena; their names are different identifiers."""
    regions = plan.arena.regions
    memories = distinct_names(identifier(region.memory) for region in regions)
    members = [ARENA, *(Identifier(f"arena_{memory}") for memory in memories[1:])]
    return tuple(
        ArenaRegion(memory, member, Identifier(memory.upper()), region.start, region.bytes)
        for memory, member, region in zip(memories, members, regions, strict=False)
    )


def _placed(plan: Plan, buffer: Buffer) -> tuple[Identifier, int]:
    """(member that points to the memory of an arena's buffer, offset in this memory)."""
    offset = plan.arena_offset(buffer)
    for region in _regions(plan):
        if region.start <= offset < region.start + region.bytes:
            return region.member, offset - region.start
    return ARENA, offset


def _counters(plan: Plan, offset: int) -> Counters:
    layers = tuple(
        visible("+".join(step.source)) for step in plan.steps
    )  # escaped, because programs print them
    return Counters(offset, layers, tuple(step.op for step in plan.steps))


def _labels(outputs: Sequence[ApiPort], metadata: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """(class names from the metadata, index of the output whose elements they name).

    There are no names if no output is a list with as many elements as there are names. A list has
    at most one axis with more than one element, and is not packed.
    """
    labels = class_labels(metadata)
    for index, port in enumerate(outputs):
        is_list = not port.packed and port.elements == max(port.shape, default=1)
        if labels and is_list and len(labels) == port.elements:
            return labels, index
    return (), 0


def header_text(model: Model, version: str) -> str:
    """The text of `NAME.h`."""
    return render("model.h.j2", m=model, version=version)


def source_text(model: Model, version: str, preamble: CCode | None = None) -> str:
    """The text of the C file with the functions of the API.

    `preamble` contains the kernels and constants of a portable model. Without it, other objects
    define them.
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
        c_type(type_.dtype),
        type_.dtype,
        type_.shape,
        elements,
        elements * elem.bytes,
        elem.bytes,
        type_.quant,
        graph.metadata.get(LAYOUT_KEY) == "NCHW" and _may_be_planes(type_),
    )


def _may_be_planes(type_: TensorType) -> bool:
    """Whether a port may be an image whose second axis is that of the channels.

    A port is not such an image if it does not have four axes, or if its last axis, but not its
    second, has 1, 3 or 4 elements, like the channels of a picture.
    """
    shape = type_.shape
    return len(shape) == 4 and not (shape[3] in _COLOURS and shape[1] not in _COLOURS)


class _ConstantSection:
    """Places constants in one section, which another object defines."""

    arrays: tuple[WeightArray, ...] = ()

    def __init__(self, name: Identifier, plan: Plan) -> None:
        self._name = name
        self._offsets = {weight.key: offset for weight, offset in plan.weights}
        self._placed = list(plan.weights)
        self._align_bytes = plan.target.constant_align_bytes
        self.bytes = plan.weight_bytes

    @property
    def placed(self) -> tuple[tuple[Weight, int], ...]:
        """Every constant with its offset in the section."""
        return tuple(self._placed)

    def pointer(self, weight: Weight, elem: Elem) -> CCode:
        """The C expression of a constant's address."""
        if weight.key not in self._offsets:
            self._offsets[weight.key] = self.bytes
            self._placed.append((weight, self.bytes))
            self.bytes += -(-weight.bytes // self._align_bytes) * self._align_bytes
        return c_code("({}_weights + {})", self._name, self._offsets[weight.key])


class _ConstantArrays:
    """Makes each constant a C array."""

    placed: tuple[tuple[Weight, int], ...] = ()

    def __init__(self, name: Identifier) -> None:
        self._name = name
        self._known: dict[tuple[str, Elem], WeightArray] = {}

    @property
    def arrays(self) -> tuple[WeightArray, ...]:
        """The arrays. A constant that is read as several types has an array for each type."""
        return tuple(self._known.values())

    @property
    def bytes(self) -> int:
        """The size of all constants."""
        return sum(array.weight.bytes for array in self._known.values())

    def pointer(self, weight: Weight, elem: Elem) -> CCode:
        """The C expression of a constant's address."""
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
            member, offset = _placed(plan, arg.buffer)
            return c_code("(f->{} + {}{})", member, offset + arg.offset_bytes, moved)


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
        member, offset = _placed(plan, plan.accesses[state.current].buffer)
        yield ArenaState(state.name, offset, data.nbytes, first, member)


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
    """A hash of the network and of the options of its compilation.

    The library, the manifest and `NAME.py` contain it, so that a mismatch is noticed.
    """
    digest = hashlib.sha256()
    steps = [
        (s.name, s.call.note, s.call.extent, s.repeat and s.repeat.trips)
        for s in (*plan.once, *plan.steps)
    ]
    target = plan.target
    facts = [API_VERSION, name, threads, target.triple, target.cpu, target.llvm_features, steps]
    facts += ["profile"] if profile else []
    if plan.arena.regions:
        offsets = sorted(plan.arena.offsets.items())
        facts += [[(r.memory, r.start, r.bytes) for r in plan.arena.regions], offsets]
    digest.update(json.dumps(facts).encode())
    digest.update(repr((plan.graph.inputs, plan.graph.outputs)).encode())
    digest.update(repr([w.key for w, _ in plan.weights]).encode())
    digest.update(repr(sorted(plan.graph.metadata.items())).encode())
    return digest.hexdigest()[:HASH_LENGTH]
