"""A cut that a report proposes consists of computed values; otherwise none is proposed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tflite_cases import scalar, stored
from tflite_files import T, TFLiteFile, options, saved

from ellc.frontends.options import ImportOptions
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError

_SHAPE = (2, 3)
_BOOL = T(_SHAPE, "bool")
_COMPUTES = ("TANH", "ADD")
GRAPHS = 60


class RandomGraph:
    """A graph of a few operators, one of them unsupported, with a float and a quantised input.

    `producers` has the operator that computes each tensor, `sources` the tensors that it reads.
    """

    def __init__(self, seed: int) -> None:
        self.file, self.rng = TFLiteFile(), random.Random(seed)
        self.producers: dict[str, str] = {}
        self.sources: dict[str, list[str]] = {}
        self.inputs = [self.file.add(T(_SHAPE)), self.file.add(stored("int8", _SHAPE))]
        self.floats, self.bytes = [self.inputs[0]], [self.inputs[1]]
        for _ in range(self.rng.randint(1, 6)):
            self._grow()
        self.end = self._applied("CUSTOM:Odd", self._picked(self.rng.randint(1, 2)), T(_SHAPE))

    def _picked(self, count: int) -> list[int]:
        return [self.rng.choice(self.floats) for _ in range(count)]

    def _applied(self, kind: str, operands: list[int], like: T, chosen: object = None) -> int:
        result = self.file.add(like)
        self.file.apply(kind, operands, [result], chosen)
        self.producers[f"t{result}"] = kind
        self.sources[f"t{result}"] = [f"t{i}" for i in operands]
        return result

    def _grow(self) -> None:
        match self.rng.choice(("TANH", "ADD", "DEQUANTIZE", "EXPAND_DIMS", "LESS", "CAST")):
            case "TANH":
                made = self._applied("TANH", self._picked(1), T(_SHAPE))
            case "ADD":
                made = self._applied("ADD", self._picked(2), T(_SHAPE), options("AddOptions"))
            case "DEQUANTIZE":
                made = self._applied("DEQUANTIZE", self.bytes[:1], T(_SHAPE))
            case "EXPAND_DIMS":
                axis = self.file.add(scalar(0))
                wide = self._applied("EXPAND_DIMS", [*self._picked(1), axis], T((1, *_SHAPE)))
                made = self._applied("SQUEEZE", [wide], T(_SHAPE), options("SqueezeOptions"))
            case "LESS":
                test = self._applied("LESS", self._picked(2), _BOOL)
                made = self._applied("CAST", [test], T(_SHAPE), options("CastOptions"))
            case _:
                whole = self._applied(
                    "CAST", self._picked(1), T(_SHAPE, "int32"), options("CastOptions")
                )
                made = self._applied("CAST", [whole], T(_SHAPE), options("CastOptions"))
        self.floats.append(made)

    def needs(self, name: str) -> set[str]:
        """All tensors on which a tensor depends."""
        return set().union(*({s} | self.needs(s) for s in self.sources.get(name, [])))

    def data(self) -> bytes:
        return self.file.data(self.inputs, [self.end])


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_a_cut_is_after_what_computes(seed: int, tmp_path: Path) -> None:
    graph = RandomGraph(seed)
    path = saved(graph.data(), tmp_path)
    with pytest.raises(EllcError) as caught:
        read_tflite(path)
    names = []
    if caught.value.hint.startswith("--outputs "):
        names = caught.value.hint.split()[1].split(",")
    assert all(graph.producers[name] in _COMPUTES for name in names)
    computed = {n for n in graph.needs(f"t{graph.end}") if graph.producers.get(n) in _COMPUTES}
    assert bool(names) == bool(computed)
    if names:
        assert computed == set(names).union(*map(graph.needs, names)) & computed
        read_tflite(path, ImportOptions(outputs=tuple(names)))
