"""Count the modelled Cortex-A53 cycles of whole float networks, beside those of other engines.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/networks.py NETS [--target pi3_64] [--only NAME]
        [--beside TARGET] [--no-chains] [--json] [--update-docs]

NETS is the folder in which the comparison tool's script put its networks with random weights. The
cycles are those of a warm call on one thread. A ratio is that of the fastest other engine to ellc:
the higher, the better. `--beside` adds a column with the cycles for a second target, such as pi3.
With `--no-chains`, layers run one after the other.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402
from cycles import kernel_cycles  # noqa: E402
from layer_list import model_plan  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402


@dataclass(frozen=True)
class Network:
    """A network of the comparison tool, and the cycles of the fastest of the other engines.

    The engines are ncnn, MNN, LiteRT and ONNX Runtime, built for AArch64, under the same model of a
    Cortex-A53, with one thread (`peers.py`).
    """

    label: str
    file: str
    best_other_mcycles: float


NETWORKS = (
    Network("ResNet8", "resnet8_cifar", 5.47),
    Network("Visual Wake Words", "vww_mobilenetv1_025_96", 5.28),
    Network("MobileNet V1 0.25 128", "mobilenetv1_025_128", 9.54),
    Network("DeepFace", "deepface_emotion_48", 15.05),
    Network("ELL d160", "ell_d160", 127.2),
    Network("MobileNet V2 1.0 224", "mobilenetv2_100_224", 184.0),
    Network("MobileNet V1 1.0 224", "mobilenetv1_100_224", 257.6),
    Network("ResNet18 224", "resnet18_224", 448.9),
    Network("SqueezeNet 1.1 224", "squeezenet11_224", 133.3),
    Network("MNasNet B1 224", "mnasnet_b1_224", 184.2),
)


@dataclass(frozen=True)
class Row:
    """A network's figures. Cycles are in millions; `beside_mcycles` is for a second target."""

    network: str
    macs: int
    mcycles: float
    best_other_mcycles: float
    beside_mcycles: float | None
    arena_bytes: int

    @property
    def ratio(self) -> float:
        """The cycles of the fastest other engine divided by those of ellc."""
        return self.best_other_mcycles / self.mcycles


def measured(network: Network, folder: Path, target: str, beside: str, options: Options) -> Row:
    """Compile one network for the targets, and count the cycles of all its kernels."""
    path = folder / f"{network.file}.onnx"
    mcycles = [_mcycles(path, name, options) for name in (target, beside) if name]
    _, plan, _ = model_plan(path, resolve(target), options)
    macs = sum(step.macs for step in plan.steps)
    other = mcycles[1] if beside else None
    return Row(
        network.label, macs, mcycles[0], network.best_other_mcycles, other, plan.arena.arena_bytes
    )


def _mcycles(path: Path, target: str, options: Options) -> float:
    row = resolve(target)
    prefix, plan, _ = model_plan(path, row, options)
    return sum(kernel_cycles([(prefix, plan)], row).values()) / 1e6


def mean_ratio(rows: Sequence[Row]) -> float:
    """The geometric mean of the ratios."""
    return math.exp(sum(math.log(row.ratio) for row in rows) / len(rows))


def markdown(rows: Sequence[Row], target: str, beside: str) -> str:
    """The table and its description."""
    head = [
        "network",
        "MMAC",
        f"M cycles, {target}",
        "best other",
        "ratio",
        "MAC/cycle",
        "arena KB",
    ]
    lines = [_cells(row) for row in rows]
    lines.append(["**geometric mean**", "", "", "", f"{mean_ratio(rows):.2f}", "", ""])
    if beside:
        head += [f"M cycles, {beside}", "times"]
        for row, cells in zip(rows, lines, strict=False):
            assert row.beside_mcycles is not None
            cells += [f"{row.beside_mcycles:.2f}", f"{row.beside_mcycles / row.mcycles:.2f}"]
        lines[-1] += ["", ""]
    note = (
        "**Modelled**, not measured: cycles of a warm call on one Cortex-A53 core. The other "
        "engines' figures were modelled in the same way."
    )
    return f"{note}\n\n{markdown_table(head, lines)}\n"


def _cells(row: Row) -> list[str]:
    return [
        *(row.network, f"{row.macs / 1e6:.1f}", f"{row.mcycles:.2f}"),
        *(f"{row.best_other_mcycles:.2f}", f"{row.ratio:.2f}"),
        f"{row.macs / row.mcycles / 1e6:.2f}",
        f"{row.arena_bytes / 1e3:.0f}",
    ]


def main() -> None:
    """Read the command line, measure, and print or write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", type=Path)
    parser.add_argument("--target", default="pi3_64")
    parser.add_argument("--beside", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--no-chains", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--update-docs", action="store_true")
    arguments = parser.parse_args()
    options = Options(depth_first=not arguments.no_chains)
    rows = []
    for network in NETWORKS:
        if arguments.only.lower() not in network.label.lower():
            continue
        row = measured(network, arguments.nets, arguments.target, arguments.beside, options)
        print(f"{row.network}: {row.mcycles:.2f} M cycles, {row.ratio:.2f}", file=sys.stderr)
        rows.append(row)
    if not rows:
        sys.exit(f"no network is named {arguments.only!r}")
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    text = markdown(rows, arguments.target, arguments.beside)
    print(text)
    if arguments.update_docs:
        command = f"By `python tests/benchmarks/networks.py NETS --target {arguments.target}"
        command += f" --beside {arguments.beside}`." if arguments.beside else "`."
        write_table(f"networks {arguments.target}", f"{command}\n\n{text}")


if __name__ == "__main__":
    main()
