"""For every file in tests/golden/passes, the passes turn the first graph into the second."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pass_cases import GoldenCase

from ellc.ir.pipeline import all_passes, run_pipeline

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "passes"
FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=[p.stem for p in FILES])
def test_pass(path: Path, request: pytest.FixtureRequest) -> None:
    case = GoldenCase.read(path)
    graph, _ = run_pipeline(case.graph(), case.passes(), paranoid=True)
    shown = case.show(graph)
    if request.config.getoption("--update-golden"):
        path.write_text(case.text(shown), encoding="utf-8")
        return
    assert shown == case.after


def test_every_pass_has_a_case() -> None:
    run = {p.name for path in FILES for p in GoldenCase.read(path).passes()}
    assert run == set(all_passes())


def test_file_names_begin_with_a_pass() -> None:
    names = "|".join(all_passes())
    assert not [p.name for p in FILES if not re.match(rf"({names})-[a-z_0-9-]+\.txt", p.name)]
