"""Gets modelled cycles of kernels and instructions from the tool in `ELLC_CYCLE_TOOL`.

The tool is a Python program that is called as `TOOL --json FILE --roi FUNCTION --top-blocks COUNT
--block-lines 0 --diff N M -- PROGRAM {}`. It executes PROGRAM twice, with N and with M in place of
`{}`, and counts cycles inside FUNCTION. It divides the difference of the two counts by M - N and
writes the result to FILE: `functions`, each with `name` and `cycles`, and `blocks` of consecutive
instructions, each with `function`, `count` (how often the block ran) and `asm`, a list of [address,
cycles each time, instruction].
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ellc.codegen.kir.assembly import assembly_functions, kernel_name
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.profiling import build_calls
from ellc.codegen.planning.plan import Plan
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

VARIABLE = "ELLC_CYCLE_TOOL"
MODELLED_CORES = ("cortex-a53",)


@dataclass(frozen=True, slots=True)
class Cost:
    """How often an instruction runs in a call of the network, and the cycles of each run."""

    runs: float
    cycles: float


@dataclass(frozen=True, slots=True)
class Modelled:
    """Cycles of one call of the network on one thread, with caches warm from an earlier call.

    `by_kernel` has the cycles of each kernel. `instructions` has, for each kernel and each
    assembly function that kernels call, the costs of its instructions by their byte offset from the
    first one. `whole_cycles` includes the code
    between the kernels. `missing` says why there are no cycles; it is empty if there are.
    """

    by_kernel: Mapping[str, float] = field(default_factory=dict)
    instructions: Mapping[str, Mapping[int, Cost]] = field(default_factory=dict)
    missing: str = ""
    whole_cycles: float = 0.0

    @property
    def all_cycles(self) -> float:
        """Cycles of all kernels."""
        return sum(self.by_kernel.values())


def why_not_modelled(target: Target, environment: Mapping[str, str] = os.environ) -> str:
    """Why there are no modelled cycles for a target; empty if there are."""
    if not environment.get(VARIABLE, ""):
        return f"{VARIABLE} is not set: no modelled cycles"
    if target.core.name in MODELLED_CORES and target.os == "linux":
        return ""
    cores = ", ".join(MODELLED_CORES)
    return f"{VARIABLE} models Linux programs for {cores}, not {target.name}: no modelled cycles"


def modelled_cycles(
    plan: Plan, prefix: str, environment: Mapping[str, str] = os.environ
) -> Modelled:
    """Model the cycles of every kernel of a plan; the kernels' names begin with `prefix`.

    If the environment variable is not set, or if the tool does not model the target's core or
    system, the result has only the reason in `missing`. Raises `EllcError` (E623) if the tool
    fails.
    """
    target, tool = plan.target, environment.get(VARIABLE, "")
    if missing := why_not_modelled(target, environment):
        return Modelled(missing=missing)
    single = replace(plan, options=replace(plan.options, threads=1))
    document = run_tool(tool, [(prefix, single)], target)
    kernels = {step.call.kernel.name: step.call.kernel for step in (*plan.once, *plan.steps)}
    cycles: dict[str, float] = {}
    for function in document["functions"]:
        owner = kernel_name(function["name"])
        if owner in kernels:
            cycles[owner] = cycles.get(owner, 0.0) + float(function["cycles"])
    all_cycles = sum(float(f["cycles"]) for f in document["functions"])
    names = {name for kernel in kernels.values() for name, _ in assembly_functions(kernel)}
    instructions = _instructions(document, {*kernels, *names})
    return Modelled(cycles, instructions, whole_cycles=all_cycles)


def run_tool(
    tool: str, plans: Sequence[tuple[str, Plan]], target: Target, calls: tuple[int, int] = (1, 2)
) -> dict[str, Any]:
    """Run the tool, and return its document about the second call of the networks.

    Other `calls` are the numbers of calls of two runs, whose difference is counted.

    Raises `EllcError` (E623) if the tool fails.
    """
    with temporary_folder("cycles") as folder:
        program, answer = folder / "program", folder / "answer.json"
        build_calls(plans, target, program)
        words = [sys.executable, tool, "--json", str(answer), "--roi", "forward"]
        words += ["--top-blocks", "1000000", "--block-lines", "0", "--diff", *map(str, calls)]
        ran = subprocess.run(
            [*words, "--", str(program), "{}"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if ran.returncode or not answer.exists():
            raise _failed(tool, ran.stderr or ran.stdout)
        return _document(tool, answer)


def _document(tool: str, answer: Path) -> dict[str, Any]:
    try:
        document = json.loads(answer.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _failed(tool, str(error)) from error
    if not isinstance(document, dict) or not {"functions", "blocks"} <= document.keys():
        raise _failed(tool, "its answer lacks `functions` or `blocks`")
    return document


def _failed(tool: str, output: str) -> EllcError:
    return EllcError(
        f"the tool that {VARIABLE} names failed",
        code="E623",
        where=tool,
        hint=f"unset {VARIABLE}: then everything except modelled cycles is shown",
        problems=output.strip().splitlines()[-10:],
    )


def _instructions(document: dict[str, Any], functions: set[str]) -> dict[str, dict[int, Cost]]:
    """The costs of instructions, by function and byte offset.

    `functions` are the kernels, and the assembly functions that kernels call. The blocks list
    only executed instructions. A function's first instruction always runs, so that the lowest
    address listed is its start and has the offset 0.
    """
    by_function: dict[str, dict[int, Cost]] = {}
    for block in document["blocks"]:
        if block["function"] not in functions:
            continue
        of_function = by_function.setdefault(block["function"], {})
        for text, cycles, _ in block["asm"]:
            address = int(text, 16)
            before = of_function.get(address, Cost(0.0, 0.0))
            of_function[address] = _sum(before, Cost(float(block["count"]), float(cycles)))
    return {
        name: {address - min(costs): cost for address, cost in sorted(costs.items())}
        for name, costs in by_function.items()
    }


def _sum(a: Cost, b: Cost) -> Cost:
    """The cost of an instruction in two blocks: runs are added, cycles per run are averaged."""
    runs = a.runs + b.runs
    return Cost(runs, (a.runs * a.cycles + b.runs * b.cycles) / runs if runs else 0.0)
