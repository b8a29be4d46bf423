"""The function that makes identifiers from names of models and ports."""

from __future__ import annotations

import keyword

import pytest

from ellc.codegen.languages.names import LONGEST_NAME, distinct_names, port_names, valid_name


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
    assert distinct_names(["x", "x", "x_2"]) == ("x", "x_2", "x_2_2")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x", "x"),
        ("X", "X"),
        ("_x", "_x"),
        ("__x", "x"),
        ("_Bool", "Bool_"),
        ("NULL", "NULL_"),
        ("INT32_MAX", "INT32_MAX_"),
        ("linux", "linux_"),
        ("out", "out_"),
        ("net_ABI", "net_ABI_"),
        ("netto", "netto"),
        ("", "model"),
        ("y" * 99, "y" * LONGEST_NAME),
    ],
)
def test_names_of_ports(text: str, name: str) -> None:
    assert port_names([text], valid_name("net")) == (name,)
    assert port_names([text, text], valid_name("net")) == (name, f"{name}_2")


@pytest.mark.parametrize(
    "name",
    ["random", "numpy", "m", "c", "size", "int32", "sem", "demo", "test", "NUL", "ellc_pool"],
)
def test_a_model_hides_no_file_and_no_function(name: str) -> None:
    assert valid_name(name) == f"{name}_"
