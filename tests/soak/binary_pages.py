"""Run the binary layers of whole networks, and compare every bit with the reference.

The networks are those of ELL's gallery that have binary layers, with drawn weights, and the trained
binary network of digits. Each is tested for each target, once as it is and once with constants that
put many sums exactly on thresholds. The test run has a small network
(`ops/test_binary_networks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from binary_layers import binary_part, images, wrong_bits
from findings import Finding, Findings

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain import emulate
from ellc.ir.graph import Graph
from ellc.ir.text import print_graph
from ellc.models import read_model
from ellc.zoo import build, networks

ROOT = Path(__file__).resolve().parents[2]
DIGITS = "digits_binary"
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
            part = binary_part(_network(network), on_thresholds=on_thresholds)
            if part is None or not emulate.can_run(board):
                findings.outcomes["not tested"] += 1
                continue
            wrong = wrong_bits(part, images(part), board)
            findings.outcomes["different" if wrong else "equal"] += 1
            if wrong:
                again = f"--only {self.name} --seed {seed} --number {number}"
                place = f"{self.name}: {network} on {target}"
                files = self.input(seed, number, folder)
                findings.add(Finding(place, "; ".join(wrong), again, files))
        return findings

    def input(self, seed: int, number: int, folder: Path) -> dict[str, bytes]:
        """The file of an input: the text of the network's binary part."""
        network, _, on_thresholds = self._chosen(seed, number + 1)[number]
        part = binary_part(_network(network), on_thresholds=on_thresholds)
        return {} if part is None else {"graph.txt": print_graph(part).encode()}

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
        for name in (DIGITS, *pages)
        for target in TARGETS
    ]


def _network(name: str) -> Graph:
    if name == DIGITS:
        return read_model(ROOT / "examples/digits/digits_binary.ell")
    return build(name)


CAMPAIGNS = (BinaryPages(),)
