"""A model as templates see it: ports, calls, states, constants, and the hash of its interface."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ellc.codegen.blocks.access import ARENA_ALIGN, Weight
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.foreign_text import CCode, Comment, Identifier, c_code
from ellc.codegen.machine.cpu_check import CpuCheck
from ellc.codegen.planning.loops import Repeat
from ellc.ir.graph import INPUT_PREFIX, LAYOUT_KEY
from ellc.ir.types import DType, Quant, TensorType

API_VERSION = 1
"""This number is increased when the meaning of the C API changes. `NAME_ABI` depends on it."""
_PROFILE_FUNCTIONS = tuple(
    f"profile_{word}" for word in ("calls", "kind", "layer", "ns", "reset", "steps")
)

ARENA = Identifier("arena")
"""The member of C structures that points to the arena, or to its part in the first memory."""

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
    """A public input or output. `elements` counts stored elements; packed bits are bytes."""

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
    """Whether the port is an image whose channels come before its rows."""

    @property
    def type(self) -> TensorType:
        """The type of the port in the graph."""
        return TensorType(self.dtype, self.shape, quant=self.quantisation)

    @property
    def packed(self) -> bool:
        """Whether the elements are packed bits."""
        return self.dtype is DType.BIT

    @property
    def rows(self) -> int | None:
        """The number of rows of an image; None if the port is not an image."""
        return self.shape[2 if self.planes else 1] if self._is_image else None

    @property
    def columns(self) -> int:
        """The number of columns of an image."""
        return self.shape[3 if self.planes else 2]

    @property
    def channels(self) -> int:
        """The number of channels of an image."""
        return self.shape[1 if self.planes else 3]

    @property
    def quant(self) -> tuple[float, int] | None:
        """(scale, zero point) if there is one pair for the whole tensor, else None."""
        q = self.quantisation
        if q is None or len(q.scale) != 1 or len(q.zero_point) != 1:
            return None
        return float(q.scale[0]), int(q.zero_point[0])

    @property
    def _is_image(self) -> bool:
        return len(self.shape) == 4 and self.shape[0] == 1


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel call in C. `arguments` and `parameter_types` end with a comma unless empty.

    If there is an expression `only_if`, the call is made only if the expression is true. A thread
    computes a multiple of `grain` elements of the extent at a time.
    """

    kernel: Identifier
    arguments: CCode
    parameter_types: CCode
    extent: int
    repeat: Repeat | None = None
    only_if: CCode | None = None
    grain: int = 1


@dataclass(frozen=True, slots=True)
class CallSequence:
    """Consecutive calls: a loop with `trips` trips, or code outside loops if `trips` is None.

    `first` is the index of the first call among all steps. If `alone`, one thread makes all calls.
    """

    trips: int | None
    alone: bool
    first: int
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class ArenaRegion:
    """The part of the arena that lies in one memory: `bytes` bytes from the plan's offset `start`.

    `member` is the pointer to it in C structures, and `macro` the name of the memory in macros.
    """

    memory: Identifier
    member: Identifier
    macro: Identifier
    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ArenaState:
    """Bytes of the arena that keep their value between calls, at `offset` of a region.

    `member` points to the region. `first` points to the initial value; None means zeros.
    """

    name: str
    offset: int
    bytes: int
    first: CCode | None
    member: Identifier = ARENA


@dataclass(frozen=True, slots=True)
class WeightArray:
    """A constant as a C array."""

    name: Identifier
    elem: Elem
    weight: Weight

    @property
    def c_type(self) -> CCode:
        """The C type of the elements."""
        return _C_TYPES[self.elem]


@dataclass(frozen=True, slots=True)
class Counters:
    """The 64-bit counters of a build that times its steps, at `offset` in the arena.

    The first counts calls. The others count the nanoseconds of each step. `layers` and `kinds` name
    the layer and the kind of each step.
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
        """Every kind once, in the order in which kinds first occur."""
        return tuple(dict.fromkeys(self.kinds))

    @property
    def type_numbers(self) -> tuple[int, ...]:
        """For each step, the index of its kind in `types`."""
        return tuple(map(self.types.index, self.kinds))


@dataclass(frozen=True)
class Model:
    """Everything that the templates need to know about a model. Offsets and sizes are in bytes.

    `threads` is the number of threads that a call uses by default. If it is 1, the code uses no
    threads.
    """

    name: Identifier
    target: str
    inputs: tuple[ApiPort, ...]
    outputs: tuple[ApiPort, ...]
    once: tuple[Call, ...]
    steps: tuple[Call, ...]
    states: tuple[ArenaState, ...]
    weights: tuple[tuple[Weight, int], ...]
    """The constants with their offsets in the weight section; empty in portable C."""
    arrays: tuple[WeightArray, ...]
    """The constants as C arrays in portable C; otherwise empty."""
    weight_bytes: int
    arena_bytes: int
    pool_offset: int
    threads: int
    metadata: tuple[tuple[str, str], ...]
    description: tuple[Comment, ...]
    hash: str
    cpu: CpuCheck
    labels: tuple[str, ...] = ()
    """The class names of the output with index `labelled`; empty if there are none."""
    labelled: int = 0
    arena_align: int = ARENA_ALIGN
    regions: tuple[ArenaRegion, ...] = ()
    """The parts of the arena in memories that the user named; empty if none was named. With
    several, `arena_bytes` is the size of the first."""
    counters: Counters | None = None

    @property
    def segments(self) -> tuple[CallSequence, ...]:
        """The steps, split where loops begin and end."""
        segments: list[CallSequence] = []
        for repeat, calls in groupby(self.steps, key=lambda call: call.repeat):
            first = segments[-1].first + len(segments[-1].calls) if segments else 0
            trips, alone = (None, False) if repeat is None else (repeat.trips, repeat.alone)
            segments.append(CallSequence(trips, alone, first, tuple(calls)))
        return tuple(segments)

    @property
    def more_regions(self) -> tuple[ArenaRegion, ...]:
        """The regions for which `init` takes more pointers."""
        return self.regions[1:]

    @property
    def more_parameters(self) -> CCode:
        """The parameters of `init` for further memories."""
        text = CCode()
        for r in self.more_regions:
            text = c_code("{}, void *{}, size_t {}_bytes", text, r.member, r.memory)
        return text

    @property
    def more_arguments(self) -> CCode:
        """The arguments that pass the parameters of `init` for further memories on."""
        text = CCode()
        for r in self.more_regions:
            text = c_code("{}, {}, {}_bytes", text, r.member, r.memory)
        return text

    @property
    def ram_bytes(self) -> int:
        """The bytes of the arena in all memories."""
        return self.arena_bytes + sum(region.bytes for region in self.more_regions)

    @property
    def abi(self) -> int:
        """The `interface_hash` of this model, which is `NAME_ABI`."""
        inputs, outputs = ([(p.name, p.type) for p in x] for x in (self.inputs, self.outputs))
        memory = self.arena_bytes, self.arena_align
        more = [(region.memory, region.bytes) for region in self.more_regions]
        return interface_hash(self.name, *memory, inputs, outputs, dict(self.metadata), more)

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
    more_memories: Sequence[tuple[str, int]] = (),
) -> int:
    """A 32-bit hash of the interface. If it changes, callers must be compiled with the new header.

    It covers `API_VERSION`, the model's name, the size and alignment of the arena, the ports (name,
    element type, shape, quantisation), the metadata that says how pixels become an input, and the
    names and sizes of further memories of the arena.
    """
    pixels = sorted(
        (key, text)
        for key, text in metadata.items()
        if key == LAYOUT_KEY or key.startswith(INPUT_PREFIX)
    )
    ports = ([_port_facts(*port) for port in x] for x in (inputs, outputs))
    facts = [API_VERSION, name, arena_bytes, arena_align, *ports, pixels]
    facts += [more_memories] if more_memories else []
    digest = hashlib.sha256(json.dumps(facts).encode()).digest()
    # The hash is never 0, because 0 marks a destroyed instance.
    return int.from_bytes(digest[:4], "little") | 1


def _port_facts(name: str, type_: TensorType) -> list[object]:
    """The facts about a port that `interface_hash` covers."""
    q = type_.quant
    quant = q and [[float(s) for s in q.scale], [int(z) for z in q.zero_point], q.axis]
    return [name, type_.dtype.value, type_.shape, quant]


def c_type(dtype: DType) -> CCode:
    """The C type of the stored elements of a port. Packed bits are bytes."""
    return _C_TYPES[Elem.of(dtype)]
