"""Check how tests run: which process runs which tests, and which files are left behind."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from bytecode_cache import BytecodeCache
from shared_scopes import QUICK_TOGETHER, SharedScopes

SHARED = [f"tests/kir/test_operations.py::test_one[{i}]" for i in range(5)]
SINGLE = [f"tests/ir/test_text.py::test_line[{i}]" for i in range(200)]


@dataclass(eq=False)
class Process:
    """The part of an xdist worker that the scheduler uses."""

    gateway: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(id="gw"))
    shutting_down: bool = False
    sent: list[list[int]] = field(default_factory=list)

    def send_runtest_some(self, places: list[int]) -> None:
        self.sent.append(places)

    def shutdown(self) -> None:
        self.shutting_down = True

    def todo(self) -> list[int]:
        return [place for places in self.sent for place in places]


def scheduled(names: list[str]) -> tuple[SharedScopes, list[Process]]:
    options = SimpleNamespace(tx=["2*popen"], loadscopereorder=True)
    config = SimpleNamespace(getvalue=lambda name: getattr(options, name), option=options)
    made, processes = SharedScopes(config), [Process(), Process()]  # type: ignore[arg-type]
    for process in processes:
        made.add_node(process)  # type: ignore[arg-type]
        made.add_node_collection(process, names)  # type: ignore[arg-type]
    made.schedule()
    return made, processes


def run_all(names: list[str], seconds: Callable[[str], float]) -> list[Process]:
    made, processes = scheduled(names)
    done = {id(p): 0 for p in processes}
    while any(done[id(p)] < len(p.todo()) for p in processes):
        for process in processes:
            if (at := done[id(process)]) < len(process.todo()):
                done[id(process)] += 1
                place = process.todo()[at]
                made.mark_test_complete(process, place, seconds(names[place]))
    assert made.tests_finished and not made.has_pending
    assert not any(made.assigned_work.values()), "finished work must be removed"
    return processes


def test_each_test_is_run_once_and_what_is_shared_by_one_process() -> None:
    names = SINGLE[:100] + SHARED + SINGLE[100:]
    first, second = run_all(names, lambda name: 0.001)
    assert sorted(first.todo() + second.todo()) == list(range(len(names)))
    assert [names[place] for place in first.todo()[: len(SHARED)]] == SHARED
    assert abs(len(first.todo()) - len(second.todo())) <= QUICK_TOGETHER + len(SHARED)


def test_quick_tests_are_sent_together_and_slow_ones_alone() -> None:
    quick = run_all(SINGLE, lambda name: 0.001)
    assert sum(len(p.sent) for p in quick) < len(SINGLE) / QUICK_TOGETHER + 10
    slow = run_all(SINGLE, lambda name: 1.0)
    assert all(len(places) == 1 for p in slow for places in p.sent)


def test_a_process_that_dies_leaves_its_tests_to_the_other() -> None:
    made, (first, second) = scheduled(SHARED + SINGLE[:3])
    made.mark_test_complete(first, 0)  # type: ignore[arg-type]
    assert made.remove_node(first) == SHARED[1]  # type: ignore[arg-type]
    waiting = {name for unit in made.workqueue.values() for name in unit}
    given = {(SHARED + SINGLE)[place] for place in second.todo()}
    assert waiting | given == {*SHARED[1:], *SINGLE[:3]}


def test_bytecode_is_kept_in_the_cache_of_pytest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    for variable in ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    kept = tmp_path / "bytecode"
    for place in (tmp_path / "sources", tmp_path / "temporary"):
        (kept / place.relative_to(place.anchor)).mkdir(parents=True)
    config = SimpleNamespace(cache=SimpleNamespace(mkdir=lambda name: tmp_path / name))
    BytecodeCache().pytest_configure(config)  # type: ignore[arg-type]
    assert (sys.dont_write_bytecode, sys.pycache_prefix) == (False, str(kept))
    assert os.environ["PYTHONPYCACHEPREFIX"] == str(kept)
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    (beside,) = (kept / tmp_path.relative_to(tmp_path.anchor)).iterdir()
    assert beside.name == "sources", "bytecode of sources in the temporary folder must be removed"
    assert not list((tmp_path).glob("ellc-bytecode-*"))
