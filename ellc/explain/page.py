"""Writes all levels of all nodes as one HTML page without external resources."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.languages.foreign_text import HtmlCode, html_text
from ellc.codegen.languages.render import render_html
from ellc.commands.output import bytes_text
from ellc.drawing.boxes import Box, boxes
from ellc.drawing.svg import drawing
from ellc.explain import asm_level, cost_level, graph_level, plan_level
from ellc.explain.arena_map import arena_map
from ellc.explain.assembly import Assembly, Line
from ellc.explain.names import short_name
from ellc.explain.study import PlannedNode, Study, all_kernels
from ellc.ir.files import write_text
from ellc.ir.printable import visible

MOST_COSTLY = 12


def write_page(study: Study, path: Path) -> str:
    """Write the page, and return a line about its content.

    Raises `EllcError` if the file cannot be written.
    """
    text = page(study)
    write_text(path, text)
    kernels = len(list(all_kernels(study.nodes)))
    size = bytes_text(len(text.encode()))
    return f"{visible(str(path))}: {len(study.nodes)} nodes, {kernels} kernels, {size}"


def page(study: Study) -> str:
    """The HTML of the page, with the texts of the levels as packed data, which a script unpacks."""
    kernels = list(all_kernels(study.nodes))
    numbers = {kernel.name: number for number, kernel in enumerate(kernels)}
    largest = max((cost_level.share(study, node) for node in study.nodes), default=0.0)
    return render_html(
        "page.html.j2",
        "ellc.explain",
        name=study.name,
        target=f"{study.target.name}: {study.target.description}",
        totals=_totals(study),
        by_cycles=int(cost_level.has_cycles(study)),
        graph=drawing(_boxes(study, largest), study.name),
        arena=arena_map(study),
        arena_text=_arena_text(study),
        costly=[_bar(study, n, largest) for n in cost_level.costliest(study)[:MOST_COSTLY]],
        changes=[_heading(graph_level.heading(c)) for c in study.changes],
        passes=len(study.passes),
        nodes=[_node(study, node, numbers) for node in study.nodes],
        cycles_line=_one_line(asm_level.cycles_line(study)),
        what_cycles_are=_one_line(plan_level.WHAT_CYCLES_ARE),
        what_slots_are=_one_line(cost_level.WHAT_SLOTS_ARE),
        data=_packed(_data(study, kernels)),
    )


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _boxes(study: Study, largest: float) -> list[Box]:
    """The boxes of the graph, marked with each node's share of the cost."""
    shares = {node.value: cost_level.share(study, node) for node in study.nodes}

    def marked(box: Box) -> Box:
        share = shares.get(box.key, 0.0)
        note = f"{share:.1%}" if box.key else ""
        return replace(box, note=note, share=share / largest if largest else 0.0)

    return list(map(marked, boxes(study.graph)))


def _totals(study: Study) -> list[tuple[str, str]]:
    plan = study.plan
    totals = [
        ("multiply-adds", f"{sum(node.macs for node in study.nodes):,}"),
        ("issue slots", f"{study.all_slots:,.0f}"),
    ]
    if cost_level.has_cycles(study):
        totals.append(("modelled cycles", f"{study.modelled.all_cycles:,.0f}"))
    return [
        *totals,
        ("arena", bytes_text(plan.arena.arena_bytes)),
        ("constants", bytes_text(plan.weight_bytes)),
        ("nodes", f"{len(study.nodes)}"),
        ("steps", f"{len(plan.steps)}"),
    ]


def _arena_text(study: Study) -> str:
    arena = study.plan.arena
    return (
        f"The arena has {arena.arena_bytes:,} bytes. At most {arena.lower_bound_bytes:,} bytes "
        "are live at once, so no arrangement needs less."
    )


@dataclass(frozen=True, slots=True)
class _Bar:
    """A row of a bar chart; `permille` is its length in thousandths of the longest bar."""

    key: str
    label: str
    detail: str
    figure: str
    permille: int


def _bar(study: Study, node: PlannedNode, largest: float) -> _Bar:
    share = cost_level.share(study, node)
    part = round(1000 * share / largest) if largest else 0
    detail = f"{cost_level.result_text(study, node)}  {node.operator}"
    return _Bar(node.value, short_name(node, 34), detail, f"{share:.1%}", part)


def _heading(text: str) -> tuple[str, str]:
    """Split the heading of a pass into its name and the numbers of nodes before and after it."""
    name, _, counts = text.partition(": ")
    return name, counts


def _node(study: Study, node: PlannedNode, numbers: dict[str, int]) -> dict[str, Any]:
    """The data of a node for the template."""
    return {
        "key": node.value,
        "name": short_name(node),
        "layers": [part for source in node.node.source for part in source.split(";")],
        "operator": node.operator,
        "facts": cost_level.facts(study, node),
        "remarks": cost_level.remarks(study, node),
        "why": plan_level.why(study, node),
        "candidates": _candidates(node),
        "steps": [_step(study, node, index, numbers) for index in range(len(node.steps))],
        "kernels": [(numbers[k.name], k.name) for k in node.kernels],
    }


def _candidates(node: PlannedNode) -> list[_Bar]:
    known = [p.cycles for p in node.predictions if p.cycles is not None]
    largest = max(known, default=0.0)
    return [
        _Bar(
            "",
            p.kernel,
            p.schedule,
            "no prediction" if p.cycles is None else f"{p.cycles:,.0f}",
            round(1000 * p.cycles / largest) if p.cycles is not None and largest else 0,
        )
        for p in node.predictions
    ]


def _step(study: Study, node: PlannedNode, index: int, numbers: dict[str, int]) -> dict[str, Any]:
    step = node.steps[index]
    pairs = zip(step.call.kernel.params, step.call.placed_args, strict=True)
    return {
        "name": step.name,
        "variant": step.call.note,
        "extent": f"{step.call.extent:,}",
        "trips": step.repeat.trips if step.repeat else 1,
        "slots": f"{study.slots(step):,.0f}",
        "kernel": numbers[step.call.kernel.name],
        "arguments": [
            (p.name, p.elem.value, *plan_level.argument(study.plan, arg)) for p, arg in pairs
        ],
    }


def _data(study: Study, kernels: list[Kernel]) -> dict[str, Any]:
    """The long texts: kernels and passes in lists, nodes by value."""
    assemblies = study.assemblies(kernels)
    return {
        "kernels": [_kernel(study, kernel, assemblies[kernel.name]) for kernel in kernels],
        "passes": ["\n".join(graph_level.difference(change)) for change in study.changes],
        "nodes": {node.value: _graph_texts(study, node) for node in study.nodes},
    }


def _kernel(study: Study, kernel: Kernel, assembly: Assembly) -> dict[str, Any]:
    return {
        "kernel": print_kernel(kernel),
        "llvm": llvm_module([kernel], study.target),
        "asm": "\n".join(line.text for line in assembly.lines),
        "costs": list(map(_cost, assembly.lines)) if assembly.has_cycles else None,
    }


def _cost(line: Line) -> list[float] | None:
    """The cost of a line as a list: cycles in a call, runs in a call, cycles of each run."""
    if line.cost is None:
        return None
    return [round(line.cycles), round(line.cost.runs), round(line.cost.cycles, 2)]


def _graph_texts(study: Study, node: PlannedNode) -> dict[str, Any]:
    changes = [
        [graph_level.heading(change), "\n".join(lines)]
        for change in study.changes
        if (lines := list(graph_level.node_difference(change, node)))
    ]
    return {"changes": changes, "now": graph_level.node_text(study.graph, node)}


def _packed(data: dict[str, Any]) -> HtmlCode:
    """The data as JSON, deflated and in base64: only letters, digits and `+/=`."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, sort_keys=True)
    return html_text(base64.b64encode(zlib.compress(text.encode(), 9)).decode())
