"""Axes in files: negative axes count from the end, and wrong axes give one clear error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from axis_cases import Axes, AxesCase, onnx_axes_cases, tflite_axes_cases

from ellc.frontends.onnx.read import read_onnx
from ellc.frontends.onnx.registry import all_operators
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.text import print_graph

Read = Callable[[Path], Graph]
ONNX_OPERATORS = sorted(
    name
    for name in all_operators().handlers
    if "." not in name and next(onnx_axes_cases(name), None) is not None
)
# LiteRT's kernels accept an axis that is named twice, and use it once.
_TAKES_TWICE = {
    *("MEAN", "SQUEEZE", "SUM"),
    *(f"REDUCE_{k}" for k in ("ALL", "ANY", "MAX", "MIN", "PROD")),
}


@cache
def by_kind() -> dict[str, list[AxesCase]]:
    found: dict[str, list[AxesCase]] = {}
    for case in tflite_axes_cases():
        found.setdefault(str(case).split()[0], []).append(case)
    return found


@pytest.mark.parametrize("operator", ONNX_OPERATORS)
def test_onnx(operator: str, tmp_path: Path) -> None:
    wrong = [w for p in onnx_axes_cases(operator) for w in _wrong(p, operator, read_onnx, tmp_path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", sorted(by_kind()))
def test_tflite(kind: str, tmp_path: Path) -> None:
    wrong = [w for p in by_kind()[kind] for w in _wrong(p, kind, read_tflite, tmp_path)]
    assert not wrong, "\n".join(wrong)


def _wrong(case: AxesCase, operator: str, read: Read, folder: Path) -> list[str]:
    """Descriptions of what is wrong with a case."""
    said = {axes: _read(case.model(axes), read, folder) for axes in _every(case)}
    right, found = said[case.axes], []
    if isinstance(right, EllcError):
        return [f"{case} {case.axes}: {_text(right)}"]
    found += [f"{a} is another graph" for a in case.negative() if said[a] != right]
    refused = [*case.outside(), *case.twice()]
    if operator in _TAKES_TWICE:
        refused = [*case.outside()]
        once = {a: tuple(dict.fromkeys(n % case.rank for n in a)) for a in case.twice()}
        found += [
            f"{a} is not {b}"
            for a, b in once.items()
            if said[a] != _read(case.model(b), read, folder)
        ]
    found += [f"{a}: {_text(said[a])}" for a in refused if not _is_clear(said[a], operator)]
    return [f"{case} {case.axes}, {text}" for text in found]


def _every(case: AxesCase) -> list[Axes]:
    return [case.axes, *case.negative(), *case.outside(), *case.twice()]


def _read(data: bytes, read: Read, folder: Path) -> str | EllcError:
    """The text of the graph, or the error."""
    path = folder / "model"
    path.write_bytes(data)
    try:
        return print_graph(read(path))
    except EllcError as error:
        return error


def _is_clear(said: str | EllcError, operator: str) -> bool:
    """Whether `said` is an error about one node of this operator, with a message about axes."""
    words = ("axis", "axes", "permutation", "outside")
    return (
        isinstance(said, EllcError)
        and len(said.problems) <= 1
        and operator in (text := _text(said))
        and any(word in text for word in words)
        and "no sense" not in text
    )


def _text(said: str | EllcError) -> str:
    if isinstance(said, EllcError):
        return "; ".join([said.message, *said.problems])
    return said
