"""Check the parts of test cases that the suite runs (`tests/support/parts.py`)."""

from __future__ import annotations

import pytest
from parts import WHOLE, quick_part, quick_seeds

CASES = [f"{op}{number}" for op in "abc" for number in range(5)]


@pytest.fixture(autouse=True)
def is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WHOLE, raising=False)


def test_parts_together_are_all_cases() -> None:
    parts = [quick_part(CASES, number, 4) for number in range(4)]
    assert sorted(case for part in parts for case in part) == CASES
    assert max(map(len, parts)) == 4
    assert quick_part(CASES) == CASES


def test_no_part_is_empty_and_numbers_wrap() -> None:
    assert quick_part(CASES[:2], 3, 4) == CASES[:1]
    assert quick_part([], 3, 4) == []
    assert quick_part(CASES, 5, 4) == quick_part(CASES, 1, 4)


def test_whatever_a_case_covers_is_covered_by_every_part() -> None:
    for number in range(15):
        part = quick_part(CASES, number, 15, covers=lambda case: [case[0]])
        assert [case[0] for case in part] == ["a", "b", "c"]


def test_seeds_are_consecutive(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [quick_seeds(14, number, 3) for number in range(3)]
    assert [seed for part in parts for seed in part] == list(range(14))
    monkeypatch.setenv(WHOLE, "1")
    assert quick_seeds(14, 1, 3) == range(14)


def test_found_errors_are_in_every_part() -> None:
    assert quick_part(CASES, 0, 15, always=lambda case: case == "b3") == ["a0", "b3"]


def test_the_option_gives_all_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WHOLE, "1")
    assert quick_part(CASES, 3, 15) == CASES
