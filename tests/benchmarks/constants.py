"""Try other values of tuned constants, and count modelled Cortex-A53 cycles of affected layers.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/constants.py [--only NAME] [--target pi3_64]
    python tests/benchmarks/constants.py --target host       nanoseconds on this machine

Prints a line for each constant and layer, with the cycles for each value; the current value is in
brackets. Cycles for another Linux target, such as pi0, are those of its code on a Cortex-A53. To
test another constant, add a row to `TUNED` in `tuned_constants.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cycles import kernel_cycles  # noqa: E402
from layer_list import Measured, plan_of  # noqa: E402
from tuned_constants import TUNED, Tuned  # noqa: E402

from ellc.codegen.kir.text import print_kernel  # noqa: E402
from ellc.codegen.machine.resolve import Overrides, resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.measure.profiling import time_steps  # noqa: E402
from ellc.codegen.planning.plan import Plan  # noqa: E402
from ellc.codegen.toolchain.system_root import runs_directly  # noqa: E402

LIMIT_MS, ROUNDS = 400, 8
"""The time for each plan on this machine, and the number of rounds; each round runs all plans."""


def measured(tuned: Tuned, layer: Measured, target: Target) -> dict[int, float]:
    """The layer's cycles, or nanoseconds on this machine, by the constant's value.

    Values that give the same kernels are measured once; if all do, nothing is measured.
    """
    module = import_module(f"ellc.codegen.{tuned.module}")
    current = getattr(module, tuned.name)
    plans: dict[str, Plan] = {}
    prefixes: dict[int, str] = {}
    for value in tuned.values:
        replacement = dict.fromkeys(current, value) if isinstance(current, dict) else value
        with patch.object(module, tuned.name, replacement):
            plan = plan_of(layer, target, "v")
        text = "\n".join(print_kernel(step.call.kernel) for step in plan.steps)
        prefixes[value] = f"v{digest(text)}"
        if prefixes[value] not in plans:
            with patch.object(module, tuned.name, replacement):
                plans[prefixes[value]] = plan_of(layer, target, prefixes[value])
    if len(plans) == 1:
        return {}
    costs = _costs([*plans.items()], target)
    return {value: costs[prefix] for value, prefix in prefixes.items()}


def digest(text: str) -> str:
    """A short name for a text, made from its hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _costs(plans: list[tuple[str, Plan]], target: Target) -> dict[str, float]:
    """The cost of each plan, by its prefix.

    On this machine it is the time of the fastest calls; elsewhere, modelled Cortex-A53 cycles.
    """
    if runs_directly(target):
        times = time_steps(plans, target, LIMIT_MS, ROUNDS)
        steps = zip(plans, times.plans, strict=True)
        return {prefix: sum(s.fastest_ns for s in own) for (prefix, _), own in steps}
    counted = kernel_cycles(plans, target)
    return {
        prefix: sum(n for name, n in counted.items() if name.startswith(f"{prefix}_"))
        for prefix, _ in plans
    }


def line(tuned: Tuned, layer: Measured, target: Target) -> str:
    """The line of the output for one constant and one layer."""
    current = getattr(import_module(f"ellc.codegen.{tuned.module}"), tuned.name)
    found = measured(tuned, layer, target)
    current = set(current.values()) if isinstance(current, dict) else {current}
    shown = [f"[{v}: {n:,.0f}]" if v in current else f"{v}: {n:,.0f}" for v, n in found.items()]
    result = "  ".join(shown) or "the same kernel at all values"
    return f"{tuned.module}.{tuned.name}  {layer.name}  {result}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", help="constants whose name with its module contains this"
    )
    parser.add_argument("--target", default="pi3_64")
    parser.add_argument("--cpu", help="in place of the target's own, such as x86-64-v3 for host")
    given = parser.parse_args()
    target = resolve(given.target, Overrides(cpu=given.cpu))
    for tuned in TUNED:
        if given.only in f"{tuned.module}.{tuned.name}":
            for layer in tuned.layers:
                print(line(tuned, layer, target), flush=True)


if __name__ == "__main__":
    main()
