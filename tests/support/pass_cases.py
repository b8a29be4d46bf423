"""Golden cases of passes. A file has the passes to run, the graph before and the graph after.

    A description of the case.
    run: fold_affine, simplify
    weights w = normal(4, 3, 3, 2)
    --- before
    graph "g" { .. @w .. }
    --- after
    (written by `pytest --update-golden`)

Weights are `normal(shape)` (with the name as seed), `bits(shape)`, `full(value, shape)`, or the
vectors `values(a, b, ..)` and `integers(a, b, ..)`. The weights that the passes computed are listed
after the graph.
"""

from __future__ import annotations

import ast
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellc.ir.graph import Graph
from ellc.ir.pipeline import Pass, parse_passes
from ellc.ir.text import parse, print_graph
from ellc.ir.types import Array
from ellc.ir.weights import WeightPool

SHOWN = 12


@dataclass(frozen=True)
class GoldenCase:
    """A case from its file; `head` and `before` are the unchanged text."""

    head: str
    before: str
    after: str

    @staticmethod
    def read(path: Path) -> GoldenCase:
        head, _, rest = path.read_text(encoding="utf-8").partition("--- before\n")
        before, _, after = rest.partition("--- after\n")
        return GoldenCase(head, before, after)

    def passes(self) -> tuple[Pass, ...]:
        (line,) = re.findall(r"^run: (.*)$", self.head, re.MULTILINE)
        return parse_passes(line)

    def graph(self) -> Graph:
        pool = WeightPool()
        text = self.before
        for name, key in self._keys(pool).items():
            text = re.sub(rf"@{name}\b", f"@{key}", text)
        return parse(text, pool)

    def show(self, graph: Graph) -> str:
        """The text of the graph with the names of weights, and the weights that passes computed."""
        text = print_graph(graph)
        for name, key in self._keys(WeightPool()).items():
            text = text.replace(f"@{key}", f"@{name}")
        computed = list(dict.fromkeys(re.findall(r"@([0-9a-f]{32})", text)))
        for index, key in enumerate(computed):
            text = text.replace(key, f"new{index}")
            text += f"new{index} = {_shown(graph.weights[key])}\n"
        return text

    def text(self, after: str) -> str:
        return f"{self.head}--- before\n{self.before}--- after\n{after}"

    def _keys(self, pool: WeightPool) -> dict[str, str]:
        lines = re.findall(r"^weights (\w+) = (\w+)\((.*)\)$", self.head, re.MULTILINE)
        return {name: pool.add(_array(name, rule, args)) for name, rule, args in lines}


def _array(name: str, rule: str, args: str) -> Array:
    numbers = ast.literal_eval(f"({args},)")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    match rule:
        case "normal":
            return rng.standard_normal(numbers).astype(np.float32)
        case "bits":
            return rng.integers(0, 2, numbers).astype(np.bool_)
        case "full":
            return np.full(numbers[1:], numbers[0], np.float32)
        case "values":
            return np.array(numbers, np.float32)
        case "integers":
            return np.array(numbers, np.int32)
    raise ValueError(f"no rule for weights: {rule}")


def _shown(array: Array) -> str:
    flat = [f"{v:.6g}" for v in array.reshape(-1)[:SHOWN]]
    more = [".."] if array.size > SHOWN else []
    return f"{array.dtype}{list(array.shape)} {', '.join([*flat, *more])}"
