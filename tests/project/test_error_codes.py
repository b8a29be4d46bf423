"""Every error code in the source has a row with cause and remedy, and every row is used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ellc.error_codes import ERROR_CODES, GROUPS, ROWS, group_of

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "ellc" / "error_codes"
CODE = re.compile(r"E\d{3}")
PLACES = ("ir", "codegen", "ellc", "docs", ".github")


def codes_in(source: str) -> Iterator[str]:
    """The codes in a file that are entire string literals; a code inside a longer text is not."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if CODE.fullmatch(text):
                yield text


@cache
def raised() -> dict[str, set[str]]:
    """All codes in the source, each with the files that contain it."""
    found: dict[str, set[str]] = {}
    for folder in ("ir", "codegen", "ellc"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            if path.parent == REGISTRY or not CODE.search(source):
                continue
            for code in codes_in(source):
                found.setdefault(code, set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_every_code_that_is_raised_is_explained() -> None:
    missing = {code: sorted(files) for code, files in raised().items() if code not in ERROR_CODES}
    assert not missing, "add rows for these codes in ellc/error_codes/"


def test_every_code_that_is_explained_is_raised() -> None:
    assert not ERROR_CODES.keys() - raised().keys()


def test_rows_are_in_order_and_whole() -> None:
    assert list(ERROR_CODES) == sorted(row.code for row in ROWS), "codes must be unique and sorted"
    assert {group_of(code) for code in ERROR_CODES} == set(GROUPS.values())
    for row in ERROR_CODES.values():
        assert row.title and row.title[-1] != ".", row.code
        assert row.cause.endswith(".") and row.remedy.endswith("."), row.code


def test_codes_that_documents_name_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(p for place in PLACES for p in (ROOT / place).rglob("*.md"))]
    unknown = {
        f"{page.relative_to(ROOT)}: {code}"
        for page in pages
        for code in re.findall(r"\bE\d{3}\b", page.read_text(encoding="utf-8"))
        if code not in ERROR_CODES
    }
    assert not unknown


def test_the_search_sees_a_code() -> None:
    source = 'def f():\n    """Raises E203."""\n    raise EllcError("no", code="E999")\n'
    assert list(codes_in(source)) == ["E999"]
