"""Digests of the code that is generated for every operator sample and for small networks.

A refactoring must not change any kernel. `digests` returns a line per program with hashes of the
text of its kernels, of its plan and of its portable C code. `text_of` returns the texts for a line.
`python replay.py TARGET LABEL` prints these texts; a test runs this command in an older checkout to
show the differences.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from operator_graphs import samples  # noqa: E402
from random_byte_graphs import random_byte_graph  # noqa: E402
from random_graphs import random_graph  # noqa: E402
from small_networks import convolution_network, two_way_network  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.kir.c99 import c_kernels  # noqa: E402
from ellc.codegen.kir.text import print_kernel  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.output.emit import plan_kernels  # noqa: E402
from ellc.codegen.planning.listing import Listing, listing  # noqa: E402
from ellc.codegen.planning.plan_text import parse, print_listing  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.ir.errors import EllcError  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.op import all_ops  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.ir.text import print_graph  # noqa: E402

TARGETS = ("linux", "pi0", "pi3", "pi3_64", "imxrt1050", "mcxn947", "wasm")
"""A target for every class of machines; none depends on the machine that runs the test."""

RANDOM_GRAPHS = 30
HASH_DIGITS = 10


@dataclass(frozen=True)
class Text:
    """The three texts that are generated for a program, of which hashes are computed."""

    kernels: str
    plan: str
    c: str

    def line(self) -> str:
        """The three hashes."""
        return " ".join(_hash(part) for part in (self.kernels, self.plan, self.c))

    def whole(self) -> str:
        """The three texts together, for a diff."""
        return "\n".join((self.plan, self.kernels, self.c))


@cache
def programs() -> dict[str, Graph]:
    """Graphs that are ready for kernels, by label: every operator sample, then small networks."""
    found = {}
    for op in all_ops().values():
        for index, sample in enumerate(samples(op)):
            found[f"{op.name}.{index}"] = sample.trial.graph
    found["network.convolution"] = run_pipeline(convolution_network())[0]
    found["network.two_way"] = run_pipeline(two_way_network())[0]
    for seed in range(RANDOM_GRAPHS):
        found[f"network.random_{seed}"] = run_pipeline(random_graph(seed))[0]
        found[f"network.bytes_{seed}"] = run_pipeline(random_byte_graph(seed))[0]
    return found


def digests(target: str, labels: Iterable[str]) -> dict[str, str]:
    """The lines of programs for a target, by label."""
    return {label: text_of(target, label).line() for label in labels}


def text_of(target: str, label: str) -> Text:
    """The texts for a program; if an operator has no kernel, the text of the error.

    Plans are printed without their candidates, so that a new family or prediction changes only
    the plans in which it is chosen.
    """
    graph, machine = programs()[label], resolve(target)
    try:
        plan = make_plan(graph, machine, Options(), "m")
    except EllcError as error:
        return Text(error.message, "", "")
    kernels = plan_kernels(plan)
    return Text(
        "\n".join(map(print_kernel, kernels)),
        "\n".join(
            (print_graph(graph) if label.startswith("network.") else "", _plan(listing(plan)))
        ),
        c_kernels(kernels, machine),
    )


def _plan(listed: Listing) -> str:
    """The text of a plan without candidates; the whole text is also parsed, as a check."""
    assert parse(print_listing(listed)) == listed, "parsing the text of a plan gives another plan"
    once, steps = (
        tuple(replace(call, candidates=()) for call in calls)
        for calls in (listed.once, listed.steps)
    )
    return print_listing(replace(listed, once=once, steps=steps))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


if __name__ == "__main__":
    print(text_of(sys.argv[1], sys.argv[2]).whole())
