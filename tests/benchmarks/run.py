"""Measure the speed of kernels, layer by layer, with lower bounds. This is not part of the tests.

    python tests/benchmarks/run.py layers                        on this machine
    python tests/benchmarks/run.py layers --target pi3_64        modelled cycles (ELLC_CYCLE_TOOL)
    python tests/benchmarks/run.py model MODEL.ell [--target T]
    ... --json | --update-docs
    ... --cores 4 --mhz 700          for a board: also the time on several cores, by a simple model

On this machine, times are those of the fastest of many calls on one thread. The peak is that of a
loop of independent fused multiply-adds, which is measured between the calls. For a board, a model
of the Cortex-A53 counts the cycles of the second call. Multiply-adds (MAC) include taps in the
padding. The time on several cores is a model on top of this one: each kernel takes the larger of
its cycles, divided by the number of cores, and the time in which memory, which the cores share,
delivers its bytes. Barriers between kernels, and waits of one core for another, are not in it.

`--update-docs` writes the table between `<!-- benchmark: WHAT TARGET -->` and
`<!-- end of benchmark -->` in docs/reference/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402
from cycles import kernel_cycles  # noqa: E402
from layer_list import layer_plans, model_plan  # noqa: E402

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.measure.profiling import time_steps  # noqa: E402
from ellc.codegen.planning.plan import Plan, Step  # noqa: E402
from ellc.codegen.toolchain.system_root import runs_directly  # noqa: E402
from ellc.profile.bounds import CORTEX_A53, numbers_of  # noqa: E402

FLOAT_MACS_PER_CYCLE = CORTEX_A53.macs["float"]
DRAM_BYTES_PER_CYCLE = CORTEX_A53.bytes or 0.0
DRAM_MHZ = 1200
"""The clock at which a core reads so many bytes in a cycle; memory has a clock of its own."""

Case = tuple[str, Plan, str]


@dataclass(frozen=True)
class Row:
    """A step of a plan. Times are in ms on this machine, in thousands of cycles for a board.

    `predicted` is the cost by which the planner chose the kernel, in thousands of cycles; None if
    there was no choice.
    """

    layer: str
    kernel: str
    macs: int
    moved_bytes: int
    time: float
    macs_bound: float | None
    bytes_bound: float
    predicted: float | None

    @property
    def is_binary(self) -> bool:
        """Whether the multiply-adds are products of signs."""
        return self.kernel.startswith("binary")


@dataclass(frozen=True)
class Result:
    """A measurement. `peak_macs` and `bandwidth` (of bytes) are per ns, for a board per cycle."""

    what: str
    target: str
    unit: str
    peak_macs: float
    bandwidth: float
    rows: tuple[Row, ...]


def measure_here(cases: Sequence[Case], what: str, target: Target, limit_ms: int) -> Result:
    """Measure the time of every step on this machine."""
    times = time_steps([(prefix, plan) for prefix, plan, _ in cases], target, limit_ms)
    rows = []
    for (_, plan, name), steps in zip(cases, times.plans, strict=True):
        for step, time in zip(plan.steps, steps, strict=True):
            floats = numbers_of(step.op) == "float"
            bound = step.macs / times.peak_macs_per_ns / 1e6 if floats else None
            bytes_bound = step.moved_bytes / times.stream_bytes_per_ns / 1e6
            rows.append(_row(plan, step, name, time.fastest_ns / 1e6, bound, bytes_bound))
    return Result(
        what, target.name, "ms", times.peak_macs_per_ns, times.stream_bytes_per_ns, tuple(rows)
    )


def measure_modelled(cases: Sequence[Case], what: str, target: Target) -> Result:
    """Count the modelled Cortex-A53 cycles of every step."""
    cycles = kernel_cycles([(prefix, plan) for prefix, plan, _ in cases], target)
    rows = []
    for _, plan, name in cases:
        for step in plan.steps:
            bound = step.macs / _macs_per_cycle(step.op)
            bytes_bound = step.moved_bytes / DRAM_BYTES_PER_CYCLE
            taken = cycles.get(step.name, 0.0)
            rows.append(_row(plan, step, name, taken / 1e3, bound / 1e3, bytes_bound / 1e3))
    return Result(
        what,
        target.name,
        "kcycles",
        FLOAT_MACS_PER_CYCLE,
        DRAM_BYTES_PER_CYCLE,
        tuple(rows),
    )


def _macs_per_cycle(op: str) -> float:
    """The peak rate of a Cortex-A53 for the multiply-adds of an operator."""
    return CORTEX_A53.macs[numbers_of(op)]


def _row(
    plan: Plan, step: Step, name: str, time: float, bound: float | None, bytes_bound: float
) -> Row:
    single = sum(s.macs > 0 for s in plan.steps) <= 1
    more = f" +{len(step.source) - 1}" if len(step.source) > 1 else ""
    layer = name if single else (step.source[0] + more if step.source else step.name)
    kernel = f"{step.op} {step.call.note}".strip()
    cycles = step.predictions[0].cycles if step.predictions else None
    predicted = None if cycles is None else cycles / 1e3
    return Row(layer, kernel, step.macs, step.moved_bytes, time, bound, bytes_bound, predicted)


@dataclass(frozen=True)
class Cores:
    """Several cores of a board, and their clock."""

    count: int
    mhz: float

    def ms(self, result: Result) -> float:
        """The modelled time of all kernels, one after the other.

        Steps of a layer that share a kernel count together: the cycles of all are in the first row.
        """
        kernels: dict[tuple[str, str], list[Row]] = {}
        for row in result.rows:
            kernels.setdefault((row.layer, row.kernel), []).append(row)
        return sum(map(self._kilocycles, kernels.values())) / self.mhz

    def _kilocycles(self, rows: Sequence[Row]) -> float:
        """Those of the work of each core, or those of the bytes."""
        by_bytes = sum(row.bytes_bound for row in rows) * self.mhz / DRAM_MHZ
        return max(sum(row.time for row in rows) / self.count, by_bytes)

    def sentence(self, result: Result) -> str:
        """The model's answer."""
        return (
            f"On {self.count} cores at {self.mhz:g} MHz, by max(cycles / {self.count}, bytes) of "
            f"each kernel: **{self.ms(result):.1f} ms**."
        )


# --- tables ---------------------------------------------------------------------------------------


def markdown(result: Result, cores: Cores | None = None) -> str:
    """The table and its description."""
    here = result.unit == "ms"
    head: tuple[str, ...]
    if here:
        head = (
            "layer",
            "kernel",
            "MMAC",
            "ms",
            "GFLOP/s",
            "of fma peak",
            "ms by MAC",
            "ms by bytes",
        )
        lines = [_here(row, result) for row in result.rows]
        note = (
            f"One core of this machine, fastest of many calls; fma peak {2 * result.peak_macs:.0f} "
            f"GFLOP/s, memory {result.bandwidth:.1f} GB/s, both measured in the same run."
        )
    else:
        head = (
            *("layer", "kernel", "MMAC", "predicted kcycles", "kcycles", "MAC/cycle"),
            *("kcycles by MAC", "kcycles by bytes", "of the bound"),
        )
        lines = [_modelled(row) for row in result.rows]
        note = (
            f"**Modelled**, not measured: cycles of one Cortex-A53 core ({result.target}), second "
            "call. Bounds: 4 MAC a cycle in float32, 42.7 in signs, 5.3 in bytes; 2 bytes a cycle "
            "from DRAM."
        )
    lines.append(_total(result))
    text = markdown_table(head, lines, texts=2)
    nominal = "MAC are nominal: taps in the padding count, though kernels leave them out."
    several = f" {cores.sentence(result)}" if cores else ""
    return f"{note} {nominal}{several}\n\n{text}\n"


def _here(row: Row, result: Result) -> list[str]:
    rate = row.macs / row.time / 1e6 if row.time else 0.0  # per ns
    return [
        *(row.layer, row.kernel, f"{row.macs / 1e6:.1f}" if row.macs else ""),
        f"{row.time:.4f}",
        f"{2 * rate:.1f}" if row.macs else "",
        f"{rate / result.peak_macs:.0%}" if row.macs and row.macs_bound is not None else "",
        f"{row.macs_bound:.4f}" if row.macs and row.macs_bound is not None else "",
        f"{row.bytes_bound:.4f}",
    ]


def _modelled(row: Row) -> list[str]:
    bound = max(row.macs_bound or 0.0, row.bytes_bound)
    return [
        *(row.layer, row.kernel, f"{row.macs / 1e6:.1f}" if row.macs else ""),
        "" if row.predicted is None else f"{row.predicted:.1f}",
        f"{row.time:.1f}",
        f"{row.macs / row.time / 1e3:.2f}" if row.macs and row.time else "",
        f"{row.macs_bound:.1f}" if row.macs else "",
        f"{row.bytes_bound:.1f}",
        f"{bound / row.time:.0%}" if row.time else "",
    ]


def _total(result: Result) -> list[str]:
    time = sum(row.time for row in result.rows)
    macs = sum(row.macs for row in result.rows)
    digits = 3 if result.unit == "ms" else 1
    rate = macs / time / (1e6 if result.unit == "ms" else 1e3) if time else 0.0
    shown = f"{2 * rate:.1f}" if result.unit == "ms" else f"{rate:.2f}"
    predicted = [] if result.unit == "ms" else [""]
    numbers = [f"{macs / 1e6:.1f}", *predicted, f"{time:.{digits}f}", shown, "", "", ""]
    return ["**all**", "", *numbers]


def document(result: Result) -> str:
    """The measurement as JSON."""
    return json.dumps(asdict(result), indent=2)


def main() -> None:
    """Parse the arguments, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["layers", "model"])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--target", default="host")
    parser.add_argument("--only", default="", help="layers whose name contains this")
    parser.add_argument("--limit-ms", type=int, default=300, help="time for each layer or model")
    parser.add_argument("--cores", type=int, help="for a board: also the time on so many cores")
    parser.add_argument("--mhz", type=float, default=DRAM_MHZ, help="the clock of these cores")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--update-docs", action="store_true")
    given = parser.parse_args()
    if (given.what == "model") != (given.model is not None):
        parser.error("`model` takes a file, `layers` none")
    target = resolve(given.target)
    if given.cores and runs_directly(target):
        parser.error("--cores is for a board whose cycles are modelled")
    if given.what == "model":
        cases = [model_plan(given.model, target)]
        what = f"model {cases[0][2]}"
    else:
        cases, what = layer_plans(target, given.only), "layers"
    if runs_directly(target):
        result = measure_here(cases, what, target, given.limit_ms)
    else:
        result = measure_modelled(cases, what, target)
    cores = Cores(given.cores, given.mhz) if given.cores else None
    if given.update_docs:
        shown = f" {given.model.name}" if given.model else ""
        command = f"python tests/benchmarks/run.py {given.what}{shown} --target {target.name}"
        command += f" --cores {cores.count} --mhz {cores.mhz:g}" if cores else ""
        write_table(f"{result.what} {target.name}", f"By `{command}`. {markdown(result, cores)}")
    print(document(result) if given.json else markdown(result, cores))


if __name__ == "__main__":
    main()
