"""Modelled cycles of networks on Cortex-M cores, layer by layer, beside CMSIS-NN and X-CUBE-AI.

    ELLC_CORTEXM_TOOL=... python tests/benchmarks/cortexm.py MODEL --target imxrt1050 --layers
    ELLC_CORTEXM_TOOL=... python tests/benchmarks/cortexm.py MODEL MODEL .. --update-docs

Each model is compiled and linked with a start-up file to a program without an operating system. The
program runs in an emulator, and its outputs are compared with the reference. `--target` may be
repeated; the default is one board with a Cortex-M7 and one with a Cortex-M33. `--board` chooses the
memories: on `zero` none has wait states, `own` means those of each target, with code and constants
in flash. `--blocks COUNT` lists the instructions that take most.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402
from cortexm_program import Measured, measured  # noqa: E402

from ellc.codegen.blocks.calls import CodeGoal, Options  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.planning.ram_limit import plan_within  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.models import read_model  # noqa: E402

TARGETS = ("imxrt1050", "mcxn947")
TABLE = "cortex-m"
CORES = {"cortex-m4": "M4", "cortex-m7": "M7", "cortex-m33": "M33"}


@dataclass(frozen=True)
class Rival:
    """Millions of cycles that other programs take for a network.

    The keys are cores, for memories without wait states, and targets, for their own memories.
    `cmsis` has modelled cycles of the kernels of CMSIS-NN 7.0.0 (commit 99f736a6), compiled by
    arm-none-eabi-gcc 12.2 with -O3 and called as TensorFlow Lite Micro calls them, in the same
    memories; the interpreter does not count. `vendor` has the cycles on hardware that ST published
    for X-CUBE-AI 9.0 (MLPerf Tiny 1.2, closed division, single stream: clock divided by inferences
    per second; H7A3 for the M7, U575 for the M33, L4R5 for the M4).
    """

    network: str
    cmsis: dict[str, float]
    vendor: dict[str, float]


def _own(imxrt1050: float, mcxn947: float) -> dict[str, float]:
    return {"imxrt1050": imxrt1050, "mcxn947": mcxn947}


RIVALS = {
    "mlperf_resnet8_cifar10_int8": Rival(
        "ResNet8",
        {"M7": 21.110339, "M33": 31.669107, "M4": 36.223511, **_own(22.462862, 33.557091)},
        {"M7": 11.44, "M33": 17.77, "M4": 19.81},
    ),
    "mlperf_vww96_int8": Rival(
        "MobileNet V1 0.25 96",
        {"M7": 17.552115, "M33": 26.360759, "M4": 30.083411, **_own(18.438015, 27.429184)},
        {"M7": 6.67, "M33": 9.48, "M4": 10.67},
    ),
    "mlperf_kws_dscnn_int8": Rival(
        "DS-CNN",
        {"M7": 5.363221, "M33": 8.333788, "M4": 9.405217, **_own(5.465478, 8.705529)},
        {"M7": 3.17, "M33": 4.65, "M4": 5.18},
    ),
    "mlperf_ad01_int8": Rival(
        "autoencoder",
        {"M7": 0.433504, "M33": 0.653302, "M4": 0.717282, **_own(1.542441, 0.738432)},
        {"M7": 0.343, "M33": 0.549, "M4": 0.631},
    ),
}
"""The int8 networks of MLPerf Tiny, by the names of their files."""


def target_core(name: str) -> str:
    """The short name of a target's core."""
    return CORES.get(resolve(name).core.name, resolve(name).core.name)


def layer_lines(found: Measured) -> Iterator[str]:
    """A line for each step: cycles, cycles per multiply-add, kernel and layer."""
    yield f"{'cycles':>12} {'share':>6} {'per MAC':>8}  {'result':18} {'kernel':34} layer"
    for step, cycles in zip(found.plan.steps, found.by_step, strict=True):
        types = found.plan.graph.types
        shape = "x".join(map(str, types[step.values[-1]].shape)) if step.values else ""
        per_mac = f"{cycles / step.macs:8.2f}" if step.macs else " " * 8
        share = f"{100 * cycles / found.cycles:5.1f}%"
        source = step.source[-1] if step.source else step.name
        yield f"{cycles:12,.0f} {share} {per_mac}  {shape:18} {step.call.note[:34]:34} {source}"


def ratio_cells(cycles: float, model: str, where: str) -> tuple[str, ...]:
    """(cycles, CMSIS-NN, ratio, X-CUBE-AI, ratio) in millions; dashes where nothing is known."""
    rival = RIVALS.get(model)
    cells = [f"{cycles / 1e6:.3g}" if cycles < 1e6 else f"{cycles / 1e6:.2f}"]
    for known in (rival.cmsis, rival.vendor) if rival else ({}, {}):
        millions = known.get(where)
        cells += ["-", "-"] if millions is None else _beside(millions, cycles)
    return tuple(cells)


def _beside(millions: float, cycles: float) -> list[str]:
    return [
        f"{millions:.3g}" if millions < 1 else f"{millions:.2f}",
        f"{millions * 1e6 / cycles:.2f}",
    ]


def summary(found: dict[tuple[str, str], float]) -> str:
    """The table of all networks; below it, geometric means. Keys: model, core or target."""
    rows = []
    for (model, core), cycles in found.items():
        name = RIVALS[model].network if model in RIVALS else model
        rows.append((name, core, *ratio_cells(cycles, model, core)))
    for core in dict.fromkeys(core for _, core in found):
        rows.append((f"geometric mean, {core}", core, *_means(found, core)))
    head = ("network", "core", "ellc", "CMSIS-NN", "ratio", "X-CUBE-AI", "ratio")
    return markdown_table(head, rows, texts=2)


def _means(found: dict[tuple[str, str], float], core: str) -> tuple[str, ...]:
    known = [(RIVALS[m], c) for (m, at), c in found.items() if at == core and m in RIVALS]

    def mean(ratios: Sequence[float]) -> str:
        return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}" if ratios else "-"

    cmsis = mean([r.cmsis[core] * 1e6 / c for r, c in known if core in r.cmsis])
    vendor = mean([r.vendor[core] * 1e6 / c for r, c in known if core in r.vendor])
    return ("", "", cmsis, "", vendor)


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--target", action="append", help="a board with a Cortex-M")
    parser.add_argument("--board", default="zero", help="the tool's name of the memories")
    parser.add_argument("--optimize", choices=("speed", "balanced", "size"))
    parser.add_argument("--kernel", action="append", default=[], metavar="LAYER=KERNEL")
    parser.add_argument("--layers", action="store_true", help="print the cycles of each layer")
    parser.add_argument("--blocks", type=int, default=0, metavar="COUNT")
    parser.add_argument("--update-docs", action="store_true")
    given = parser.parse_args()
    code: CodeGoal | None = given.optimize
    kernels = tuple(tuple(word.rsplit("=", 1)) for word in given.kernel)
    options = Options(code=code, kernels=kernels)  # type: ignore[arg-type]
    totals: dict[tuple[str, str], float] = {}
    for path in given.models:
        graph, _ = run_pipeline(read_model(path))
        for name in given.target or TARGETS:
            target = resolve(name)
            is_own = given.board == "own"
            board, where = (name, name) if is_own else (given.board, target_core(name))
            found = measured(plan_within(graph, target, options, "net"), board, given.blocks)
            totals[path.stem, where] = found.cycles
            print(
                f"{path.stem} {name} ({given.board}): {found.cycles:,.0f} cycles, "
                f"code {found.code_bytes:,} bytes, outputs {'equal' if found.equal else 'DIFFER'}"
            )
            print("\n".join(layer_lines(found)) if given.layers else "", end="\n" * given.layers)
            print(found.blocks, end="", flush=True)
    table = summary(totals)
    print(table)
    if given.update_docs:
        write_table(f"{TABLE} {given.board}", table)


if __name__ == "__main__":
    main()
