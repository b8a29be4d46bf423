"""Builds a plan with probes between its kernels. Probes keep results or measure times.

The kernels and their arena are those of the shipped build. Only the C code around the kernels
differs. A probe is called like a kernel (`templates/probes.c`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ellc.codegen.blocks.access import Access, Buffer
from ellc.codegen.blocks.calls import BufferArg
from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.foreign_text import CCode, Identifier, c_code
from ellc.codegen.machine.target import Target
from ellc.codegen.output.emit import compile_kernels, plan_kernels, weight_pieces
from ellc.codegen.output.glue import header_text, make_model, source_text
from ellc.codegen.output.model import ApiPort, Call, Model
from ellc.codegen.output.runtime import runtime_dir
from ellc.codegen.planning.plan import PartAccess, Plan, Step
from ellc.codegen.planning.rolling import unrolled
from ellc.codegen.toolchain import elf, emulate
from ellc.codegen.toolchain.compile_c import compile_c
from ellc.ir.types import Array, DType

_PROBES = Path(__file__).resolve().parents[1] / "templates" / "probes.c"


@dataclass(frozen=True, slots=True)
class KeptBuffer:
    """Where the record holds the contents of a buffer after a step: at byte `offset`.

    If the step is one of a chain, `part` is the part of a value that it wrote.
    """

    step: int
    buffer: Buffer
    offset: int
    part: PartAccess | None = None


@dataclass(frozen=True)
class KeptProgram:
    """A program that also returns what every step wrote."""

    plan: Plan
    runner: emulate.Runner
    copies: tuple[KeptBuffer, ...]

    def run(self, calls: Sequence[tuple[bytes, ...]]) -> list[tuple[tuple[bytes, ...], bytes]]:
        """(outputs, record) of each of several consecutive calls after a reset.

        Raises the errors of `run_cases`.
        """
        requests = [emulate.Request(0, x, keep_state=i > 0) for i, x in enumerate(calls)]
        answers = emulate.run_cases(self.runner, requests)
        return [(answer[:-1], answer[-1]) for answer in answers]


def build_kept(plan: Plan, name: str, folder: Path) -> KeptProgram:
    """Build a single-threaded program that copies every result right after its step.

    The names of the plan's kernels start with `name`. Raises the errors of `emulate.build_runner`.
    """
    plan = unrolled(plan)
    model = make_model(plan, name)
    record = len(model.outputs)
    steps: list[Call] = []
    copies: list[KeptBuffer] = []
    at = 0
    for index, (step, call) in enumerate(zip(plan.steps, model.steps, strict=True)):
        # Steps run without their conditions, because results that nothing reads are also compared.
        steps.append(replace(call, only_if=None))
        for buffer in _written(step, plan):
            steps.append(
                Call(
                    Identifier("ellc_keep"),
                    c_code(
                        "(void *)(f->out[{}] + {}), (const void *){}, ",
                        record,
                        at,
                        _base(plan, buffer),
                    ),
                    CCode("void *, const void *, "),
                    buffer.bytes,
                    call.repeat,
                )
            )
            part = step.part.result if step.part else None
            copies.append(KeptBuffer(index, buffer, at, part))
            at += buffer.bytes
    probed = replace(
        model, steps=tuple(steps), outputs=(*model.outputs, _extra_output("record", max(1, at)))
    )
    objects = [*model_objects(plan, probed, folder), probe_object(plan.target, folder)]
    runner = emulate.build_runner(plan.target, objects, [model_case(probed)], folder)
    return KeptProgram(plan, runner, tuple(copies))


def ticking_model(plan: Plan, name: str) -> Model:
    """The model with an additional output of 64-bit numbers of nanoseconds.

    The first is the time of the last tick, the others are the times of the steps. The time of a
    step in a loop is that of all trips together. The caller must fill the output with zeros.
    """
    model = make_model(plan, name)
    output = len(model.outputs)
    steps = [_tick(output, 0)]
    for index, call in enumerate(model.steps):
        steps += [call, replace(_tick(output, index + 1), repeat=call.repeat)]
    times = _extra_output("times", 8 * (len(model.steps) + 1), 8)
    return replace(model, steps=tuple(steps), outputs=(*model.outputs, times))


def model_case(model: Model, threads: int = 0) -> emulate.Case:
    """The case by which a runner of `emulate` calls a model."""
    return emulate.Case(
        model.name,
        tuple(emulate.PortMemory(p.bytes, p.item_bytes) for p in model.inputs),
        tuple(emulate.PortMemory(p.bytes, p.item_bytes) for p in model.outputs),
        model.arena_bytes,
        is_model=True,
        threads=threads,
    )


def model_objects(plan: Plan, model: Model, folder: Path) -> list[Path]:
    """The objects of API functions, kernels and constants.

    `model` is the model of the plan, but may have additional steps.
    """
    target = plan.target
    (folder / f"{model.name}.h").write_text(header_text(model, "probe"), encoding="utf-8")
    source = folder / f"{model.name}_api.c"
    source.write_text(source_text(model, "probe"), encoding="utf-8")
    objects = [source.with_suffix(".o")]
    compile_c(source, target, (folder, runtime_dir()), objects[0])
    for index, compiled in enumerate(compile_kernels(plan_kernels(plan), target)):
        objects.append(folder / f"{model.name}_kernels{index}.o")
        objects[-1].write_bytes(compiled.data)
    if model.weight_bytes:
        objects.append(folder / f"{model.name}_weights.o")
        pieces = weight_pieces(model.weights, target)
        elf.write_constants(objects[-1], f"{model.name}_weights", pieces, target)
    return objects


def probe_object(target: Target, folder: Path) -> Path:
    """The object of the probes, which are called between kernels."""
    out = folder / "probes.o"
    compile_c(_PROBES, target, (runtime_dir(),), out)
    return out


class Memory:
    """Reconstructs the contents of a plan's buffers, step by step, from a record."""

    def __init__(self, program: KeptProgram) -> None:
        self._plan, self._copies = program.plan, program.copies
        self._bytes: dict[str, Array] = {}
        self._rows: dict[str, Array] = {}  # the inner results of chains
        graph = program.plan.graph
        for index, state in enumerate(graph.states):
            first = stored_array(graph.weights[state.key], graph.types[state.current].dtype)
            self._bytes[f"state{index}"] = np.frombuffer(first.tobytes(), np.uint8)

    def begin(self, inputs: Sequence[bytes]) -> None:
        """Start a call with these inputs. States keep the values that the previous call left."""
        for index, data in enumerate(inputs):
            self._bytes[f"input{index}"] = np.frombuffer(data, np.uint8)

    def advance(self, record: bytes, first: int, last: int) -> None:
        """Update the buffers that steps `first` to `last` wrote."""
        for copy in self._copies:
            if first <= copy.step <= last:
                view = np.frombuffer(record, np.uint8, copy.buffer.bytes, copy.offset)
                self._bytes[copy.buffer.id] = view
                if copy.part is not None and copy.part.value in self._plan.windows:
                    self._keep_rows(copy.part)

    def value(self, value: str, dtype: DType, channels: int) -> Array:
        """The current elements of a value. Those of a chain's inner result are put together."""
        if value in self._rows:
            return _unpacked(self._rows[value], dtype, channels)
        return self.read(self._plan.accesses[value], dtype, channels)

    def _keep_rows(self, part: PartAccess) -> None:
        """Keep a part of a chain's inner result, which the next bands overwrite in its window."""
        shape = (*self._plan.graph.types[part.value].shape[:3], part.access.shape[3])
        whole = self._rows.setdefault(part.value, np.zeros(shape, part.access.elem.numpy))
        (first, end), (left, right) = part.box.rows, part.box.columns
        whole[:, first:end, left:right] = self._elements(part.access)

    def read(self, access: Access, dtype: DType, channels: int) -> Array:
        """The current elements of an access. Bits are unpacked to `channels` booleans."""
        if math.prod(access.shape) == 0:
            return np.zeros(access.shape, dtype.numpy)
        return _unpacked(self._elements(access), dtype, channels)

    def _elements(self, access: Access) -> Array:
        """The current stored elements of an access, as a view."""
        size = access.elem.bytes
        data = self._bytes[access.buffer.id]
        elements = data[: len(data) // size * size].view(access.elem.numpy)
        strides = tuple(s * size for s in access.strides)
        return np.ndarray(access.shape, elements.dtype, elements, access.offset * size, strides)


def _unpacked(stored: Array, dtype: DType, channels: int) -> Array:
    """A copy of stored elements as values of a type; bits become booleans."""
    if dtype is DType.BIT:
        bits = np.unpackbits(np.asarray(stored, order="C"), axis=-1, bitorder="little")
        return bits[..., :channels].astype(np.bool_)
    return stored.astype(dtype.numpy)


def _written(step: Step, plan: Plan) -> list[Buffer]:
    """The buffers that a step writes, without scratch memory.

    Of the steps of a chain that write parts of a whole buffer, only the last one counts: it leaves
    the whole result.
    """
    if step.part and not step.values and step.part.result.value not in plan.windows:
        return []
    written: dict[str, Buffer] = {}
    for param, arg in zip(step.call.kernel.params, step.call.placed_args, strict=True):
        if param.writable and isinstance(arg, BufferArg) and arg.buffer.kind != "scratch":
            written.setdefault(arg.buffer.id, arg.buffer)
    return list(written.values())


def _base(plan: Plan, buffer: Buffer) -> CCode:
    if buffer.kind == "output":
        return c_code("f->out[{}]", buffer.index)
    return c_code("(f->arena + {})", plan.arena_offset(buffer))


def _tick(output: int, index: int) -> Call:
    argument = c_code("(void *)f->out[{}], ", output)
    return Call(Identifier("ellc_tick"), argument, CCode("void *, "), index)


def _extra_output(name: str, size: int, item_bytes: int = 1) -> ApiPort:
    elem = Elem.U8 if item_bytes == 1 else Elem.U64
    count = size // item_bytes
    c_type = CCode("uint8_t" if elem is Elem.U8 else "uint64_t")
    dtype = DType.U8 if elem is Elem.U8 else DType.U64
    return ApiPort(
        name, Identifier(f"ellc_{name}"), c_type, dtype, (count,), count, size, item_bytes, None
    )
