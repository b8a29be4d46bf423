"""Measure the costs of the instructions of codegen/kir/instructions: throughput, latency, pairs.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/instruction_costs.py --core cortex-a53
    ELLC_CORTEXM_TOOL=... python tests/benchmarks/instruction_costs.py --core cortex-m7
    python tests/benchmarks/instruction_costs.py --core host
    ... --write      also put the costs into codegen/kir/instructions/costs.py

Each figure is measured with a loop. Its body has independent copies of the instruction, or a chain
of copies through one operand, or copies alternating with another instruction. Two lengths of the
body are measured, and the difference is divided by the number of instructions, so that the loop's
own cost cancels. For the Cortex-A53, M4, M7 and M33, the tools that the variables name model the
cycles. On this machine, times are measured, and a cycle is the time of one integer addition in a
chain of additions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from instruction_loops import Loop, Spelling, spelling_of  # noqa: E402
from loop_cycles import cycles_of_loops  # noqa: E402

from ellc.codegen.kir.instructions import INSTRUCTIONS  # noqa: E402
from ellc.codegen.kir.instructions.costs import COSTS  # noqa: E402
from ellc.codegen.kir.instructions.row import Instruction  # noqa: E402
from ellc.codegen.machine.core import Arch  # noqa: E402
from ellc.codegen.machine.cost import Companion, Cost  # noqa: E402
from ellc.codegen.machine.resolve import Overrides, resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402

TABLE = ROOT / "codegen" / "kir" / "instructions" / "costs.py"


def targets(core: str) -> tuple[Target, ...]:
    """The targets on which a core's instructions are measured."""
    match core:
        case "cortex-a53":
            return resolve("pi3_64"), resolve("pi3")
        case "host":
            return (resolve("host"),)
    triple = "thumbv7em-none-eabihf" if core == "cortex-m4" else ""
    boards = {"cortex-m7": "imxrt1050", "cortex-m33": "mcxn947"}
    return (resolve(boards.get(core, "custom"), Overrides(triple=triple, cpu=core)),)


def rows(target: Target) -> tuple[Instruction, ...]:
    """The rows that are measured on a target; if it has NEON, only the rows of NEON."""
    own = "neon_" if target.has_neon else ""
    return tuple(
        row for row in INSTRUCTIONS.values() if row.available(target) and row.name.startswith(own)
    )


@dataclass(frozen=True)
class _Probe:
    """The loops that measure one row."""

    row: Instruction
    loops: dict[str, Loop]

    def cost(self, cycles: dict[str, float], companions: Iterable[Companion]) -> Cost:
        """The row's cost, given the cycles per instruction of each loop, by the loop's name."""
        each = {key: _rounded(cycles[loop.name]) for key, loop in self.loops.items()}
        once = each["once"]
        chains = {key: c for key, c in each.items() if key.startswith("chain")}
        updated = f"chain{self.row.updates}"
        latency = max((c for key, c in chains.items() if key != updated), default=once)
        pairs = [kind for kind in companions if 2 * each[f"with {kind}"] < max(1.0, once) + 0.1]
        return Cost(once, latency, chains.get(updated), tuple(pairs))


def _rounded(cycles: float) -> float:
    """The cycles, rounded to quarters: measurements on a busy machine are no more accurate."""
    return round(4 * cycles) / 4


def _probes(target: Target, spelling: Spelling) -> Iterator[_Probe]:
    for row in rows(target):
        yield _Probe(row, dict(spelling.loops(row, row.asm[target.arch])))


def costs(target: Target, only: str = "") -> dict[str, Cost]:
    """The costs, on the target's core, of the rows whose names contain `only`."""
    spelling = spelling_of(target)
    probes = [probe for probe in _probes(target, spelling) if only in probe.row.name]
    loops = [loop for probe in probes for loop in probe.loops.values()]
    cycles = cycles_of_loops(target, spelling, loops)
    return {probe.row.name: probe.cost(cycles, spelling.companions) for probe in probes}


_HEAD = '''"""The costs of instructions on cores, written by tests/benchmarks/instruction_costs.py.

The keys are the name of the core, its architecture, and the name of the instruction's row. Costs on
Cortex-A53, M4, M7 and M33 come from models. Costs on znver5 were measured on an AMD EPYC. There are
no sources for other cores, nor for WebAssembly, whose costs depend on the machine that runs it. The
model of the Cortex-A53 does not list vrshl, so the latency of srshl on 32-bit ARM is a guess.
"""

from __future__ import annotations

from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.cost import Cost

COSTS: dict[str, dict[Arch, dict[str, Cost]]] = {'''


def table(measured: dict[str, dict[Arch, dict[str, Cost]]]) -> str:
    """The text of `costs.py`."""
    lines = [_HEAD]
    for core, states in sorted(measured.items()):
        lines.append(f'    "{core}": {{')
        for arch, found in sorted(states.items()):
            lines.append(f'        "{arch}": {{')
            lines += [f'            "{name}": {_written(cost)},' for name, cost in found.items()]
            lines.append("        },")
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def _written(cost: Cost) -> str:
    values = [f"{cost.cycles:g}", f"{cost.latency:g}"]
    if cost.update_latency is not None or cost.issues_with:
        values.append("None" if cost.update_latency is None else f"{cost.update_latency:g}")
    if cost.issues_with:
        kinds = ", ".join(f'"{kind}"' for kind in cost.issues_with)
        values.append(f"({kinds}{',' if len(cost.issues_with) == 1 else ''})")
    return f"Cost({', '.join(values)})"


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = ("cortex-a53", "cortex-m4", "cortex-m7", "cortex-m33", "host")
    parser.add_argument("--core", choices=cores, nargs="+", required=True)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--write", action="store_true", help="put the costs into the table")
    given = parser.parse_args()
    measured = dict(COSTS)
    for target in (t for core in given.core for t in targets(core)):
        found = costs(target, given.only)
        for name, cost in found.items():
            print(f"{target.core.name:10}  {target.arch:7}  {name:22}  {_written(cost)}")
        states = measured.get(target.core.name, {})
        before = states.get(target.arch, {})
        measured[target.core.name] = {**states, target.arch: {**before, **found}}
    if given.write:
        TABLE.write_text(table(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
