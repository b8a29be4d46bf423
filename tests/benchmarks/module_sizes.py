"""Measure how LLVM's compile time for a network depends on the module size `MODULE_STATEMENTS`.

    python tests/benchmarks/module_sizes.py MODEL [--target pi3_64]

Prints a line for each size: the number of modules, the total processor seconds, and the time until
all modules are compiled on 1, 2, 4 and 8 cores. In this model, each free core takes the longest
remaining module.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from layer_list import model_plan  # noqa: E402

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.output import emit  # noqa: E402
from ellc.codegen.planning.plan import Plan  # noqa: E402
from ellc.codegen.toolchain.llvm import worker_request  # noqa: E402
from ellc.codegen.toolchain.llvm_worker import Compiler  # noqa: E402

SIZES = (1, 400, 800, 1500, 3000, 6000, 12000)
CORES = (1, 2, 4, 8)


def seconds(plan: Plan, size: int, compiler: Compiler) -> list[float]:
    """Processor seconds of each module of about `size` statements."""
    with patch.object(emit, "MODULE_STATEMENTS", size):
        jobs = emit.kernel_jobs(emit.plan_kernels(plan), plan.target)
    taken = []
    for job in jobs:
        start = time.process_time()
        compiler.compile(worker_request(job, plan.target), job.text)
        taken.append(time.process_time() - start)
    return taken


def _compiler() -> Compiler:
    """A worker's compiler in this process. It reads LLVM's messages back from standard error."""
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
    return Compiler()


def last_core(taken: Sequence[float], cores: int) -> float:
    """The time at which the last of the cores finishes."""
    busy = [0.0] * cores
    for duration in sorted(taken, reverse=True):
        busy[busy.index(min(busy))] += duration
    return max(busy)


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", default="pi3_64")
    given = parser.parse_args()
    _, plan, _ = model_plan(given.model, resolve(given.target))
    compiler = _compiler()
    seconds(plan, SIZES[-1], compiler)  # the first module of a process takes longer
    for size in SIZES:
        taken = seconds(plan, size, compiler)
        ends = "  ".join(f"{cores}: {last_core(taken, cores):.2f} s" for cores in CORES)
        own = size == emit.MODULE_STATEMENTS
        shown = f"[{size}]" if own else f"{size}"
        print(f"{shown:>8} statements  {len(taken):4} modules  {ends}", flush=True)


if __name__ == "__main__":
    main()
