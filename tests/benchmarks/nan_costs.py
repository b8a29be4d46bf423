"""Measure the cost of propagating NaN in kernels that compare numbers.

    python tests/benchmarks/nan_costs.py [--target host] [--limit-ms 300]

Compiles the usual kernels, and variants of them that ignore NaN. In the variants, searches do not
check for NaN; `min` and `max` are a comparison and a selection (b if either is NaN), unless the
target has a single instruction for them. Prints a row for each kernel: microseconds of the fastest
of many calls on this machine, or for pi3 and pi3_64 modelled cycles of a Cortex-A53 core (from the
tool that ELLC_CYCLE_TOOL names).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
from cycles import kernel_cycles  # noqa: E402
from operator_graphs import sample_graph  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.kernels import reduce, top_k  # noqa: E402
from ellc.codegen.kir.ir import Let  # noqa: E402
from ellc.codegen.kir.llvm.arithmetic import better, has_float_min, min_max  # noqa: E402
from ellc.codegen.kir.llvm.operations import SPELLINGS  # noqa: E402
from ellc.codegen.kir.llvm.writer import InstructionWriter  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.measure.profiling import time_steps  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.op import Case  # noqa: E402
from ellc.ir.ops.activations import Clip, LeakyRelu, Relu  # noqa: E402
from ellc.ir.ops.common import normal  # noqa: E402
from ellc.ir.ops.pool import LOWEST, MaxPool2D  # noqa: E402
from ellc.ir.ops.reduce import ArgMax, Reduce  # noqa: E402
from ellc.ir.ops.sorting import TopK  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.ir.types import Padding  # noqa: E402

IMAGE = (1, 14, 14, 64)  # fits, with its result, into the second-level cache of every target
PADDING = Padding(1, 1, 1, 1, LOWEST.values)
KERNELS = {
    "relu": (Relu(), IMAGE),
    "clip to 0..6": (Clip(0.0, 6.0), IMAGE),
    "leaky relu": (LeakyRelu(0.1), IMAGE),
    "max pool 2x2, stride 2": (MaxPool2D((2, 2), (2, 2)), IMAGE),
    "max pool 3x3, stride 2, padding": (MaxPool2D((3, 3), (2, 2), PADDING), IMAGE),
    "maximum of all pixels": (Reduce("max", (1, 2)), IMAGE),
    "arg max of 64 channels": (ArgMax(3), IMAGE),
    "arg max of 1000": (ArgMax(1), (64, 1000)),
    "top 5 of 1000": (TopK(1, 5), (4, 1000)),
}
"""Operators, and the shapes of their operands."""


def without_nan() -> ExitStack:
    """Within this context, kernels are generated that ignore NaN."""
    stack = ExitStack()
    shorter = {"min": _one_choice, "max": _one_choice}
    stack.enter_context(patch.dict(SPELLINGS, shorter))
    for module in (reduce, top_k):
        stack.enter_context(patch.object(module, "nan_ranked", lambda b, value, *, largest: value))
    return stack


def _one_choice(writer: InstructionWriter, let: Let) -> str:
    """`min` or `max` of floats as a comparison and a selection, unless it is an instruction."""
    type_ = let.result.type
    if not type_.elem.is_float or has_float_min(writer, type_):
        return min_max(writer, let)
    return better(writer, let.op, *let.args)


def measured(target: Target, limit_ms: int) -> dict[str, float]:
    """The microseconds or modelled cycles of each kernel."""
    plans = [(f"k{i}", make_plan(g, target, Options(), f"k{i}")) for i, g in enumerate(_graphs())]
    if target.name == "host":
        times = time_steps(plans, target, limit_ms).plans
        return {
            name: sum(step.fastest_ns for step in steps) / 1000
            for name, steps in zip(KERNELS, times, strict=True)
        }
    cycles = kernel_cycles(plans, target)
    return {
        name: sum(c for kernel, c in cycles.items() if kernel.startswith(f"k{i}_0"))
        for i, name in enumerate(KERNELS)
    }


def _graphs() -> Iterator[Graph]:
    rng = np.random.default_rng(0)
    for name, (op, shape) in KERNELS.items():
        graph, _ = sample_graph(Case(op, (normal(rng, *shape),)), name)
        yield run_pipeline(graph)[0]


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="host", choices=("host", "pi3", "pi3_64"))
    parser.add_argument("--limit-ms", type=int, default=300, help="time for each kernel on host")
    given = parser.parse_args()
    target = resolve(given.target)
    kept = measured(target, given.limit_ms)
    with without_nan():
        lost = measured(target, given.limit_ms)
    unit = "µs" if given.target == "host" else "cycles"
    print(f"| {given.target} | {unit} | without NaN | cost |\n|---|---:|---:|---:|")
    for name, time in kept.items():
        print(f"| {name} | {time:.5g} | {lost[name]:.5g} | {time / lost[name] - 1:+.0%} |")


if __name__ == "__main__":
    main()
