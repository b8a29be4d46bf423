"""Run the binary layers of whole networks, and compare every bit with the reference.

The networks are those of ELL's gallery that have binary layers, with drawn weights, the trained
binary network of digits, and, if the test data is there, QONNX's TFC. Each is tested for each
target, once as it is and once with constants that put many sums exactly on thresholds. QuickNet,
whose shortcuts are floats, is only tested with such constants. The test run has a small network
(`ops/test_binary_networks.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from binary_layers import binary_part, compared_parts, images, residual_part, wrong_bits
from findings import Finding, Findings

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain import emulate
from ellc.ir.graph import Graph
from ellc.ir.text import print_graph
from ellc.models import read_model
from ellc.zoo import build, networks

ROOT = Path(__file__).resolve().parents[2]
DIGITS, QUICKNET, TFC = "digits_binary", "quicknet_small", "qonnx_TFC_1W1A_mnist.onnx"
_DATA = os.environ.get("ELLC_TEST_DATA", "")
TARGETS = ("host", "pi3_64", "pi3", "imxrt1050")


@dataclass(frozen=True)
class BinaryPages:
    """The campaign: an input is a network, a target, and whether sums are on thresholds."""

    name: str = "binary"
    batch: int = 1
    quick_count: int = 0
    quick: bool = False

    def run(self, seed: int, count: int, folder: Path) -> Findings:
        """Test the next `count` networks."""
        findings = Findings()
        for number, (network, target, on_thresholds) in enumerate(self._chosen(seed, count)):
            board = resolve(target)
            parts = _parts(network, on_thresholds)
            if not parts or not emulate.can_run(board):
                findings.outcomes["not tested"] += 1
                continue
            wrong = [w for part in parts for w in wrong_bits(part, images(part), board)]
            findings.outcomes["different" if wrong else "equal"] += 1
            if wrong:
                again = f"--only {self.name} --seed {seed} --number {number}"
                place = f"{self.name}: {network} on {target}"
                files = self.input(seed, number, folder)
                findings.add(Finding(place, "; ".join(wrong), again, files))
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The files of an input: the texts of the network's binary parts."""
        network, _, on_thresholds = self._chosen(seed, number + 1)[number]
        parts = _parts(network, on_thresholds)
        return {f"graph{i}.txt": print_graph(part).encode() for i, part in enumerate(parts)}

    def _chosen(self, seed: int, count: int) -> list[tuple[str, str, bool]]:
        first = (seed - 1) * self.batch
        return _inputs()[first : first + count]


@cache
def _inputs() -> list[tuple[str, str, bool]]:
    """All inputs; every target has seen every network before sums are on thresholds."""
    pages = [n.name for n in networks() if n.name.startswith("d_I") and "B" in n.name]
    return [
        (name, target, on_thresholds)
        for on_thresholds in (False, True)
        for name in (DIGITS, *([TFC] if _DATA else []), QUICKNET, *pages)
        for target in TARGETS
        if on_thresholds or name != QUICKNET
    ]


def _parts(name: str, on_thresholds: bool) -> list[Graph]:
    """The parts of a network whose signs are compared."""
    graph = _network(name)
    if name == TFC:
        return compared_parts(graph, on_thresholds=on_thresholds)
    if name == QUICKNET:
        part = residual_part(graph)
    else:
        part = binary_part(graph, on_thresholds=on_thresholds)
    return [] if part is None else [part]


def _network(name: str) -> Graph:
    if name == DIGITS:
        return read_model(ROOT / "examples/digits/digits_binary.ell")
    if name == TFC:
        return read_model(Path(_DATA) / "models" / TFC)
    return build(name)


CAMPAIGNS = (BinaryPages(),)
