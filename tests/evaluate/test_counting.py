"""Answers are ranked, counted and stored; no answer is lost or counted twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ellc.evaluate.answers import Answer, Verdict
from ellc.evaluate.journal import open_journal
from ellc.evaluate.tally import agreement, confusion, tally, worst_mistakes
from ellc.ir.errors import EllcError


def answer(index: int, label: int, *scores: list[float]) -> Answer:
    verdicts = tuple(Verdict.of(np.array(s), label) for s in scores)
    return Answer(index, f"s{index}", label, verdicts, machine="here")


ANSWERS = [
    answer(0, 0, [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]),
    answer(1, 1, [0.8, 0.2, 0.0], [0.2, 0.8, 0.0]),
    answer(2, 1, [0.4, 0.3, 0.3], [0.9, 0.0, 0.1]),
    answer(3, 2, [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    Answer(4, "s4", -1, problem="cannot be read"),
]


def test_ranks_of_equal_scores_follow_the_class_and_nan_comes_last() -> None:
    assert Verdict.of(np.array([1.0, 1.0]), 1).rank == 1
    assert Verdict.of(np.array([np.nan, -9.0]), 1).rank == 0
    assert Verdict.of(np.array([0.5, 0.5]), 7).rank == 2


def test_counts_leave_out_what_could_not_be_read() -> None:
    counts = tally(ANSWERS)
    assert (counts.samples, counts.first, counts.among) == (4, 2, 4)
    assert [(c.label, c.samples, c.first) for c in counts.classes] == [
        (0, 1, 1),
        (1, 2, 0),
        (2, 1, 1),
    ]
    labels, matrix = confusion(ANSWERS)
    assert labels == (0, 1, 2)
    assert matrix.tolist() == [[1, 0, 0], [2, 0, 0], [0, 0, 1]]
    assert [m.answer.index for m in worst_mistakes(ANSWERS, 9)] == [1, 2]
    both = agreement(ANSWERS)
    assert (both.same, [a.index for a in both.different]) == (2, [0, 1])


@pytest.mark.parametrize("kept", range(0, 700, 23))
def test_a_journal_goes_on_after_any_byte(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal"
    with open_journal(path, "this", 2) as journal:
        for one in ANSWERS:
            journal.add(one)
    path.write_bytes(path.read_bytes()[:kept])
    with open_journal(path, "this", 2) as journal:
        known = dict(journal.known)
        assert all(known[index] == ANSWERS[index] for index in known)
        for one in ANSWERS:
            if one.index not in known:
                journal.add(one)
        journal.add(ANSWERS[0])
    with open_journal(path, "this", 2) as journal:
        assert [journal.known[index] for index in range(5)] == ANSWERS


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with open_journal(path, "this", 2) as journal:
        journal.add(ANSWERS[0])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with open_journal(path, "this", 2) as journal:
        journal.add(ANSWERS[1])
    with open_journal(path, "this", 2) as journal:
        assert list(journal.known.values()) == ANSWERS[:2]


def test_a_journal_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught, open_journal(tmp_path / "no" / "journal", "this", 2):
        pass
    assert caught.value.code == "E703"


_ANSWER = (
    '{"index":0,"name":"a","label":1,"verdicts":[{"best":[[0,1.0]],"rank":1},'
    '{"best":[[1,1.0]],"rank":0}],"machine":"m"}'
)
_IMPOSSIBLE = [
    _ANSWER.replace(*change)
    for change in (
        ('"index":0', '"index":Infinity'),
        ('"index":0', '"index":' + "9" * 5000),
        ('"label":1', '"label":-7'),
        ('"rank":1', '"rank":-1'),
        ("[0,1.0]", ""),
        ("[0,1.0]", "[1e999,1.0]"),
        ('{"best":[[0,1.0]],"rank":1},', ""),
        ('"machine"', '"problem":"unreadable","machine"'),
    )
]


@pytest.mark.parametrize(
    "content",
    ["no journal\n", '{"ellc_evaluate": 1, "identity": "that"}\n', "[]\n", "\udcff\n"]
    + [
        f'{{"ellc_evaluate": 1, "identity": "this"}}\n{line}\n'
        for line in ("{}", "1", "[", '{"index": {}}', "[" * 100_000, *_IMPOSSIBLE)
    ]
    + ["a line without an end"],
)
def test_another_file_is_no_journal(tmp_path: Path, content: str) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(EllcError) as caught, open_journal(path, "this", 2):
        pass
    assert caught.value.code == "E775"
    assert path.read_bytes() == content.encode(errors="surrogateescape")
