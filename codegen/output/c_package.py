"""Writes a model as portable C99: a header, and one file with kernels, constants and the API.

Large constants and the runtime have their own files.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ellc.codegen.kir.c99 import c_kernels
from ellc.codegen.kir.types import Elem
from ellc.codegen.languages.foreign_text import CCode, c_code, joined
from ellc.codegen.output.emit import plan_kernels
from ellc.codegen.output.glue import header_text, make_model, source_text
from ellc.codegen.output.model import Model, WeightArray
from ellc.codegen.output.runtime import runtime_dir
from ellc.codegen.planning.plan import Plan
from ellc.ir.errors import EllcError
from ellc.ir.types import Array, DType

SEPARATE_WEIGHT_BYTES = 16 * 1024 * 1024
"""If the constants have more bytes than this, they are written to a separate file."""

_LINE_LENGTH = 100
_CHUNK_ELEMENTS = 4096


def write_c_package(
    plan: Plan,
    name: str,
    folder: Path,
    version: str,
    threads: int = 1,
    *,
    profile: bool = False,
) -> tuple[Path, ...]:
    """Write `NAME.h`, `NAME.c`, and the runtime files that it needs. Returns the paths.

    Large constants are written to `NAME_weights.c`. `NAME.c` needs no compiler option but
    `-std=c99`. Raises `EllcError` (E608) if kernels compute in half precision, for which C99 has no
    type.
    """
    if any(type_.dtype is DType.F16 for type_ in plan.graph.types.values()):
        raise EllcError(
            "C code cannot compute in half precision",
            code="E608",
            hint="leave out `--emit c` or `--fp16`",
        )
    model = make_model(plan, name, threads, portable=True, profile=profile)
    header = folder / f"{name}.h"
    header.write_text(header_text(model, version), encoding="utf-8", newline="\n")
    separate = model.weight_bytes > SEPARATE_WEIGHT_BYTES
    files = [header]
    if separate:
        files.append(folder / f"{name}_weights.c")
        _write_weights(files[-1], model)
    source = folder / f"{name}.c"
    constants = c_constants(model, extern=separate)
    preamble = joined((constants, c_kernels(plan_kernels(plan), plan.target)), "\n\n")
    source.write_text(source_text(model, version, preamble), encoding="utf-8", newline="\n")
    files.append(source)
    runtime = (*(["ellc_pool"] if threads > 1 else []), *(["ellc_clock"] if profile else []))
    for part in (f"{name}{ending}" for name in runtime for ending in (".h", ".c")):
        shutil.copyfile(runtime_dir() / part, folder / part)
        files.append(folder / part)
    return tuple(files)


def c_constants(model: Model, *, extern: bool = False) -> CCode:
    """The definitions of the model's constants as C arrays, or with `extern` their declarations."""
    return joined(
        (
            c_code("extern {};", _head(array))
            if extern
            else c_code("static {}", joined(_definition(array), ""))
            for array in model.arrays
        ),
        "\n",
    )


def _write_weights(path: Path, model: Model) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"/* Constants of {model.name}.c. */\n#include <stdint.h>\n\n")
        for array in model.arrays:
            file.write(f"extern {_head(array)};\n")
            file.writelines(_definition(array))
            file.write("\n\n")


def _head(array: WeightArray) -> CCode:
    count = array.weight.bytes // array.elem.bytes
    return c_code("const {} {}[{}]", array.c_type, array.name, count)


def _definition(array: WeightArray) -> Iterator[CCode]:
    """The definition of an array with its values, as a sequence of short texts."""
    yield c_code("{} = {{\n", _head(array))
    data = np.asarray(array.weight.array(), order="C").reshape(-1).view(array.elem.numpy)
    for start in range(0, len(data), _CHUNK_ELEMENTS):
        yield from _lines(data[start : start + _CHUNK_ELEMENTS], array.elem)
    yield CCode("};")


def _lines(values: Array, elem: Elem) -> Iterator[CCode]:
    line = "   "
    for value in values.tolist():
        text = _literal(value, elem)
        if len(line) + len(text) + 2 > _LINE_LENGTH:
            yield CCode(line + "\n")
            line = "   "
        line += f" {text},"
    yield CCode(line + "\n")


def _literal(value: float | int, elem: Elem) -> str:
    if elem.is_float:
        suffix = "f" if elem is Elem.F32 else ""
        if value != value:
            return f"0.0{suffix} / 0.0{suffix}"
        if value in (float("inf"), float("-inf")):
            return f"{'-' if value < 0 else ''}1.0{suffix} / 0.0{suffix}"
        digits = f"{value:.9g}" if elem is Elem.F32 else repr(value)
        return f"{digits if set(digits) & set('.e') else digits + '.0'}{suffix}"
    if elem is Elem.I64:
        # There is no literal for the lowest value, as 9223372036854775808 fits no signed type.
        return f"{value}ll" if value > -(2**63) else "-9223372036854775807ll - 1"
    if elem is Elem.I32 and value == -(2**31):
        return "-2147483647 - 1"
    return f"{value}u{'ll' if elem is Elem.U64 else ''}" if value > 2**31 - 1 else str(value)
