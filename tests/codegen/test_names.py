"""The rule that makes names of models and ports identifiers."""

from __future__ import annotations

import keyword

import pytest

from codegen.names import distinct_names, valid_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("seed", "seed"),
        ("mobilenet-v1 1.0", "mobilenet_v1_1_0"),
        ("3d", "_3d"),
        ("", "model"),
        ("größe", "gr__e"),
        ("int", "int_"),
        ("match", "match_"),
        ("template", "template_"),
    ],
)
def test_valid_name(text: str, name: str) -> None:
    assert valid_name(text) == name


def test_names_are_identifiers_and_no_keywords() -> None:
    for text in [*keyword.kwlist, *keyword.softkwlist, "while", "size_t", "\n", "a b", "ß"]:
        name = valid_name(text)
        assert name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def test_equal_names_are_told_apart() -> None:
    assert distinct_names(["x", "x", "x_2", "m"], taken=("m",)) == ("x", "x_2", "x_2_2", "m_2")
