"""For any bytes, the frontend returns a valid graph or raises `EllcError`."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from ell_nodes import constant, link, node, source
from ell_oracle import graph_map, layout
from ell_samples import ALL_TEXTS
from parts import is_whole

from ellc.frontends.ell.options import EllOptions
from ellc.frontends.ell.read import read_ell
from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.writer import archive_bytes
from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits
from ellc.ir.verify import verify

_VALUE = re.compile(rb'[-+.\w]+|"[^"]*"|\[[^\[\]{}]*\]')
_ODD = [
    b"-1", b"0", b"1", b"2", b"3", b"65535", b"2147483647", b"9999999999", b"18446744073709551615",
    b"1e9", b"1e300", b"nan", b"-inf", b"null", b"true", b"[]", b"{}", b'""', b'"{}"', b"[0,0,0]",
    b"[3,1,2]", b"[1000000000,1,1]", b'"1.output"', b'"{1.output, 2.output[0:3]}"', b"",
]  # fmt: skip
LIMITS = Limits(tensor_elements=100_000, filled_elements=100_000, values=100_000)


def node_archive() -> bytes:
    """An archive of a graph with nodes that move data, arithmetic and a recurrent cell."""
    numbers = np.linspace(-1, 1, 24, dtype=np.float32)
    tanh = ("activation", ArchiveObject("TanhActivation<float>", "0"))
    nodes = [
        source("1", 2, 3, 2),
        source("2", 1, kind="int"),
        constant("3", numbers),
        node(
            "ReorderDataNode<float>",
            "4",
            link("input", "1.output", "4"),
            ("inputLayout", layout(2, 3, 2)),
            ("outputLayout", layout(2, 3, 2, padding=(1, 0, 0))),
            ("paddingValue", 1),
        ),
        node(
            "RNNNode<float>",
            "5",
            link("input", "{4.output[6:9], 1.output[0]}", "5"),
            link("resetTrigger", "2.output", "5", "int"),
            ("hiddenUnits", 2),
            link("inputWeights", "3.output[0:8]", "5"),
            link("hiddenWeights", "3.output[8:12]", "5"),
            link("inputBias", "3.output[12:14]", "5"),
            link("hiddenBias", "3.output[14:16]", "5"),
            tanh,
        ),
        node("SumNode<float>", "6", link("input", "5.output", "6")),
    ]
    return archive_bytes(graph_map(nodes, ["1", "2"], ["6.output", "4.output"]))


FILES = {name: text.encode() for name, text in ALL_TEXTS.items() if "nodes" in text}
FILES["nodes"] = node_archive()


def mutant(rng: random.Random, original: bytes) -> bytes:
    """The file with a few changed values or bytes."""
    data = bytearray(original)
    for _ in range(rng.randrange(1, 5)):
        values = list(_VALUE.finditer(bytes(data)))
        if not values:
            break
        spot = rng.choice(values)
        donor = rng.choice(values).group()
        match rng.randrange(10):
            case 0:
                data[spot.start()] = rng.randrange(256)
            case 1:
                del data[spot.start() : spot.start() + rng.randrange(40)]
            case 2 | 3 | 4:
                data[spot.start() : spot.end()] = donor
            case _:
                data[spot.start() : spot.end()] = rng.choice(_ODD)
    return bytes(data)


def accepted(name: str, seed: int, count: int) -> int:
    """The number of the `count` mutants that are read; all others must raise `EllcError`."""
    rng = random.Random(seed)
    good = 0
    for _ in range(count):
        try:
            verify(read_ell(mutant(rng, FILES[name]), EllOptions(limits=LIMITS)))
            good += 1
        except EllcError as error:
            assert error.code.startswith("E2"), error.report()
    return good


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FILES))
def test_damaged_files(name: str) -> None:
    assert accepted(name, 1, 800) > 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted(FILES))
def test_many_damaged_files(name: str, seed: int) -> None:
    count = 4000 if is_whole() else 600
    assert accepted(name, 100 + seed, count) > count // 100


def test_noise() -> None:
    rng = random.Random(3)
    for _ in range(300):
        data = rng.randbytes(rng.randrange(200))
        with pytest.raises(EllcError):
            read_ell(data)
        with pytest.raises(EllcError):
            read_ell(b'{"_type": "Map", "model": ' + data)
