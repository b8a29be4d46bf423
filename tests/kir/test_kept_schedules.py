"""Schedules kept between compilations: the same bytes with and without, also from bad files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_networks import convolution_network
from tiles import Tile

from ellc.codegen.kir.in_order import kept, scheduler
from ellc.codegen.kir.in_order.translate import lowered
from ellc.codegen.kir.ir import For
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.kept import Shelf
from ellc.driver import compile_model

TILE = Tile(4, 2).kernel()
TARGETS = (resolve("pi3_64"), resolve("pi3"))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "schedules"))
    return Shelf(tmp_path / "schedules")


@pytest.fixture
def translated(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The nests that the scheduler has translated."""
    done: list[object] = []

    def counted(loop: For, *more: Any) -> Any:
        done.append(loop)
        return lowered(loop, *more)

    monkeypatch.setattr(scheduler, "lowered", counted)
    return done


def answers(shelf: Shelf) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(shelf.folder.iterdir())}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_kept_schedule_is_the_same(
    target: Target, shelf: Shelf, translated: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = schedule(TILE, target)
    assert first != TILE and len(translated) == 1
    assert schedule(TILE, target) == first and len(translated) == 1
    monkeypatch.setenv(kept.VARIABLE, "")
    assert schedule(TILE, target) == first and len(translated) == 2


def test_the_key_has_all_that_a_schedule_depends_on(
    shelf: Shelf, translated: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = (TILE, Tile(4, 2, residual=True).kernel(), Tile(4, 2, 128).kernel())
    made = [schedule(kernel, target) for kernel in kernels for target in TARGETS]
    assert len(set(map(print_kernel, made))) == len(made)
    assert len(translated) == len(answers(shelf)) >= len(made)
    again = [schedule(kernel, target) for kernel in kernels for target in TARGETS]
    assert again == made and len(translated) == len(answers(shelf))
    for version in ("another version", ""):  # empty: the sources were changed since the start
        before = len(translated)
        monkeypatch.setattr(kept, "_sources", lambda version=version: version)
        assert schedule(TILE, TARGETS[0]) == made[0] and len(translated) == before + 1
        assert schedule(TILE, TARGETS[0]) == made[0]
        assert len(translated) == before + (1 if version else 2)


def test_nests_that_llvm_compiles_are_kept_too(shelf: Shelf, translated: list[object]) -> None:
    tile = Tile(2, 1).kernel()
    first = [schedule(tile, target) for target in TARGETS]
    count = len(translated)
    assert [schedule(tile, target) for target in TARGETS] == first
    assert len(translated) <= count + len(TARGETS)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda answer: [answer],
    "no function": lambda answer: {"witnesses": answer["witnesses"]},
    "more": lambda answer: {**answer, "function": {**answer["function"], "more": 1}},
    "no lines": lambda answer: changed(answer, lines=[]),
    "numbers": lambda answer: changed(answer, lines=[1, 2]),
    "another order": lambda answer: changed(answer, lines=answer["function"]["lines"][::-1]),
    "another lane": lambda answer: with_line(answer, ".s[1]", ".s[2]"),
    "a second instruction": lambda answer: with_line(answer, "nop", "nop; b main"),
    "a comment": lambda answer: with_line(answer, "nop", "nop // x"),
    "an operand": lambda answer: with_line(answer, "nop", "nop x1"),
    "a directive": lambda answer: with_line(answer, ".p2align 4", '.incbin "/etc/passwd"'),
    "two lines": lambda answer: with_line(answer, "nop", "nop\nb main"),
    "an unknown instruction": lambda answer: with_line(answer, "nop", "svc #0"),
    "no operands": lambda answer: with_line(answer, "nop", "add"),
    "no number": lambda answer: with_line(answer, "nop", "add xx, x1, x2"),
    "a huge shift": lambda answer: with_line(answer, "nop", "lsl x1, x1, #999999999999"),
    "nothing saved": lambda answer: changed(answer, saves=[]),
    "saved twice": lambda answer: changed(answer, saves=["sp", "x0"]),
    "scratch memory": lambda answer: changed(answer, scratch_bytes=1 << 40),
    "no witnesses": lambda answer: {**answer, "witnesses": {}},
    "other witnesses": lambda answer: {
        **answer,
        "witnesses": {k: {**w, "carried": ["v1"]} for k, w in answer["witnesses"].items()},
    },
    "deep": lambda answer: None,
}


def changed(answer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**answer, "function": {**answer["function"], **fields}}


def with_line(answer: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    lines = answer["function"]["lines"]
    at = next(i for i, line in enumerate(lines) if old in line)
    return changed(answer, lines=[*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]])


@pytest.mark.slow
def test_hostile_files_cost_only_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    target, keys = TARGETS[0], list[str]()

    def noted(where: Shelf, key: str, content: bytes) -> None:
        keys.append(key)
        put(where, key, content)

    put = Shelf.put
    monkeypatch.setattr(Shelf, "put", noted)
    tile = Tile(8, 2).kernel()
    expected = schedule(tile, target)
    good = answers(shelf)
    (key,) = keys
    content = shelf.get(key)
    assert content is not None
    for name, change in HOSTILE.items():
        wrong = json.dumps(change(json.loads(content))).encode()
        shelf.put(key, b"[" * 100_000 if name == "deep" else wrong)
        assert answers(shelf) != good, name
        assert schedule(tile, target) == expected, name
        assert answers(shelf) == good, name


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_compiled_files_are_the_same_to_the_byte(
    target: Target, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kept.VARIABLE, "")
    compile_model(convolution_network(), target.name, out_dir=tmp_path / "without")
    monkeypatch.setenv(kept.VARIABLE, str(shelf.folder))
    for name in ("new", "kept"):
        compile_model(convolution_network(), target.name, out_dir=tmp_path / name)
        assert files_of(tmp_path / name) == files_of(tmp_path / "without")
    assert answers(shelf)


def test_where_schedules_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kept.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert kept.shelf() == Shelf(tmp_path / "xdg" / "ellc" / "schedules")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kept.shelf() == Shelf(tmp_path / "home" / ".cache" / "ellc" / "schedules")
