"""List which samples of operators each target declines, and why.

    python tests/benchmarks/declined.py                  print the table
    python tests/benchmarks/declined.py --update-docs    write it to docs/guide/board.md

A sample is declined if `make_plan` raises an `EllcError`. Targets with the same result share a row.
For targets that agree in `facts`, on which alone this depends, one is planned: a minute of time.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from benchmark_page import markdown_table, write_table  # noqa: E402
from operator_graphs import samples  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.machine.resolve import fixed_targets  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.ir.errors import EllcError  # noqa: E402
from ellc.ir.op import all_ops  # noqa: E402

PAGE = ROOT / "docs" / "guide" / "board.md"


def facts(target: Target) -> tuple[bool, bool, bool]:
    """What decides whether an operator is declined: floats and doubles in hardware, M profile."""
    return target.computes_floats, target.scalar_f64, target.is_thumb


def declined(target: Target) -> dict[str, tuple[str, ...]]:
    """For each reason, the operators of which the target declines at least one sample."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, op in all_ops().items():
        for sample in samples(op):
            try:
                make_plan(sample.trial.graph, target, Options(), "sample")
            except EllcError as error:
                text = str(error).splitlines()[0].rpartition(": ")[2]
                reason = re.sub(r"target \S+ has", "the target has", text)
                found[re.sub(r"'\w+'", "the operator", reason)].add(name)
    return {reason: tuple(sorted(names)) for reason, names in found.items()}


def table() -> str:
    """The table of all targets, in Markdown."""
    rows: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    known: dict[tuple[bool, bool, bool], dict[str, tuple[str, ...]]] = {}
    for target in fixed_targets():
        if facts(target) not in known:
            known[facts(target)] = declined(target)
        every = known[facts(target)]
        for reason, names in every.items():
            rows[reason, names].append(target.name)
        if not every:
            rows["", ()].append(target.name)
    lines = [
        (
            ", ".join(f"`{name}`" for name in targets),
            reason or "nothing is declined",
            ", ".join(f"`{name}`" for name in names) or "-",
        )
        for (reason, names), targets in rows.items()
    ]
    return markdown_table(("targets", "reason", "operators with a declined sample"), lines, 3)


def main() -> None:
    """Print the table, or write it to the page."""
    parser = argparse.ArgumentParser(description="Which samples of operators targets decline.")
    parser.add_argument("--update-docs", action="store_true", help=f"write {PAGE.name}")
    given = parser.parse_args()
    text = table()
    if given.update_docs:
        write_table("declined", text, PAGE)
    else:
        print(text)


if __name__ == "__main__":
    main()
