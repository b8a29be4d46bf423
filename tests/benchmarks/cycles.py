"""Count modelled Cortex-A53 cycles of kernels, with the tool that ELLC_CYCLE_TOOL names."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ellc.codegen.kir.assembly import kernel_name
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Plan
from ellc.explain.cycle_tool import VARIABLE, run_tool
from ellc.ir.errors import EllcError


def kernel_cycles(
    plans: Sequence[tuple[str, Plan]], target: Target, calls: tuple[int, int] = (1, 2)
) -> dict[str, float]:
    """The cycles of each kernel, by name, in a second call, with warm caches and predictors.

    Exits with a message if the tool is missing or fails. `calls` is as for `run_tool`.
    """
    tool = os.environ.get(VARIABLE, "")
    if not tool:
        sys.exit(f"{VARIABLE} is not set: no modelled cycles")
    try:
        document = run_tool(tool, plans, target, calls)
    except EllcError as error:
        sys.exit(error.report())
    cycles: dict[str, float] = {}
    for entry in document["functions"]:
        name = kernel_name(entry["name"])
        cycles[name] = cycles.get(name, 0.0) + float(entry["cycles"])
    return cycles
