"""Every option and version of every operator is read as in the runtime, or declined."""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from tflite_agreement import difference, every_case, imported
from tflite_declined import DOCUMENT, page
from tflite_files import T, TFLiteFile, options, reference, runs_version, saved
from tflite_option_cases import OptionCase, option_cases

from ellc.frontends.tflite.checks import REDUNDANT_OPTIONS, operators
from ellc.frontends.tflite.container import option_names
from ellc.frontends.tflite.read import read_tflite
from ellc.frontends.tflite.versions import latest_version
from ellc.ir.errors import EllcError
from ellc.ir.types import Array

TABLE = operators()
BUILTIN = sorted(k for k in TABLE.handlers if not k.startswith("CUSTOM:"))


_GRAPHS = {
    "CALL_ONCE": options("CallOnceOptions", initSubgraphIndex=1),
    "IF": options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=1),
    "WHILE": options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=1),
}


@cache
def by_kind() -> dict[str, list[OptionCase]]:
    kinds: dict[str, list[OptionCase]] = {}
    for case in option_cases(every_case()):
        kinds.setdefault(case.case.kind, []).append(case)
    return kinds


@pytest.mark.parametrize("kind", sorted(by_kind()))
def test_what_the_schema_allows_is_read_or_declined(kind: str, tmp_path: Path) -> None:
    wrong = {str(c): said for c in by_kind()[kind] if (said := _wrong(c, tmp_path))}
    assert not wrong


def _wrong(case: OptionCase, folder: Path) -> str:
    """A description of what is wrong with the import of a case; empty if it is correct."""
    wanted = _wanted(case)
    try:
        found = imported(case.case, folder)
    except EllcError as error:
        said = "; ".join(error.problems) or error.message
        reasons = [d.reason for d in TABLE.declined[case.case.kind] if d.option == case.name]
        declined = any(reason in said for reason in reasons)
        return "" if declined or wanted is None or not case.is_known else said
    if not case.is_known:
        return "a value that the schema does not have is taken"
    if wanted is None or not case.is_judged:
        return ""
    pairs = zip(chain(*found), chain(*wanted), strict=True)
    return next(filter(None, (difference(*pair) for pair in pairs)), "")


def _wanted(case: OptionCase) -> list[list[Array]] | None:
    """The results of the runtime for a case; None if it refuses the case."""
    try:
        return reference(case.case.data(), case.case.inputs(), case.case.calls)
    except (RuntimeError, ValueError):
        return None


def test_the_table_names_what_the_schema_has() -> None:
    every = option_names()
    assert {d.option for kind in BUILTIN for d in TABLE.declined[kind]} <= every
    assert set(REDUNDANT_OPTIONS) <= every


@pytest.mark.parametrize("kind", BUILTIN)
def test_versions_are_read_up_to_the_runtimes_latest(kind: str, tmp_path: Path) -> None:
    latest = latest_version(kind)
    assert runs_version(kind, latest)
    assert not runs_version(kind, latest + 1)
    for version in (0, latest + 1):
        file = TFLiteFile(version=version, inner=[(TFLiteFile(), [], [])])
        places = [file.add(T((2, 3))) for _ in range(2)]
        file.apply(kind, places[:1], places[1:], _GRAPHS.get(kind))
        with pytest.raises(EllcError) as caught:
            read_tflite(saved(file.data(places[:1], places[1:]), tmp_path))
        assert f"version {version}" in "; ".join([caught.value.message, *caught.value.problems])


def test_the_page_is_what_the_table_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == page(), "python tests/support/tflite_declined.py --write"
