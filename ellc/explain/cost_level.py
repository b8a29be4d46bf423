"""The level `cost`: the cost of each node in issue slots and modelled cycles, and its share."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.commands.output import bytes_text, table
from ellc.explain.names import short_name
from ellc.explain.study import PlannedNode, Study
from ellc.ir.types import TensorType

MOST_COSTLY = 5
WAITS_MORE = 1.5
"""A node is reported to wait if its cycles per slot are more than this many times the average."""
WHAT_SLOTS_ARE = (
    "slots: instructions that the kernels issue, counted in their text by vector registers;\n"
    "waiting for memory does not count. moved: operands, weights and results, each once."
)


def of_network(study: Study) -> str:
    """The totals, a table of all nodes in order, and a list of the most expensive nodes."""
    header = ["node", "layer", "operator", "result", "MACs", "MACs/slot", "moved", "slots", "share"]
    header += ["cycles", "share"] if has_cycles(study) else []
    rows = [row(study, node) for node in study.nodes]
    costly = [f"  {share(study, n):6.1%}  %{n.value}  {short_name(n)}: {n.operator}"
              for n in costliest(study)[:MOST_COSTLY]]  # fmt: skip
    return "\n".join(
        [
            totals(study),
            "",
            table(header, rows, "    rrrrrrr"),
            "",
            "most expensive",
            *costly,
            "",
            WHAT_SLOTS_ARE,
            study.modelled.missing or "cycles: modelled, of one call on one core, caches warm",
        ]
    )


def of_node(study: Study, node: PlannedNode) -> str:
    """Remarks on a node, then its figures, then the slots of its steps if it has several."""
    lines = [f"{short_name(node)}: {node.operator}", "", *remarks(study, node), ""]
    lines += [f"{name:<18} {text}" for name, text in facts(study, node)]
    if len(node.steps) > 1:
        rows = [[s.name, s.call.note, f"{study.slots(s):,.0f}"] for s in node.steps]
        lines += ["", table(["step", "variant", "slots"], rows, "  r")]
    return "\n".join([*lines, "", WHAT_SLOTS_ARE, study.modelled.missing]).rstrip()


def facts(study: Study, node: PlannedNode) -> list[tuple[str, str]]:
    """All figures about a node's cost, each with its name, as texts."""
    slots = study.node_slots[node.value]
    rank = costliest(study).index(node) + 1
    pairs = [
        ("result", result_text(study, node)),
        ("multiply-adds", f"{node.macs:,}"),
        ("bytes moved", f"{node.moved_bytes:,}"),
        ("issue slots", f"{slots:,.0f}, {rate(node, slots)} MACs each"),
        ("share of slots", f"{slot_share(study, node):.1%}"),
        ("rank", f"{rank} of {len(study.nodes)}"),
    ]
    if has_cycles(study):
        cycles = study.node_cycles(node)
        pairs += [
            ("modelled cycles", f"{cycles:,.0f}, {rate(node, cycles)} MACs each"),
            ("share of cycles", f"{share(study, node):.1%}"),
            ("cycles per slot", f"{cycles / slots:.2f}" if slots else ""),
        ]
    return pairs


def remarks(study: Study, node: PlannedNode) -> list[str]:
    """Sentences that explain the figures of a node."""
    if not node.steps:
        return ["It costs nothing: the result is a view of bytes that are already there."]
    rank = costliest(study).index(node) + 1
    of_all = f"{share(study, node):.1%} of all {'cycles' if has_cycles(study) else 'issue slots'}"
    sentences = [f"Number {rank} of {len(study.nodes)} by cost, {of_all}."]
    slots = study.node_slots[node.value]
    if node.macs and slots:
        best = max(n.macs / study.node_slots[n.value] for n in study.nodes if n.macs and n.steps)
        sentences.append(
            f"{node.macs / slots:.2f} multiply-adds per slot; the best layer of this network does "
            f"{best:.2f}."
        )
    if node.moved_bytes:
        sentences.append(f"It moves {bytes_text(node.moved_bytes)}: {_where_from(study, node)}.")
    return sentences + _waiting(study, node)


def _where_from(study: Study, node: PlannedNode) -> str:
    """Says which cache can hold all operands, weights and results of a node, if any can."""
    core = study.target.core
    if node.moved_bytes <= core.l1_bytes:
        return f"all of it fits into the first-level cache ({bytes_text(core.l1_bytes)})"
    if node.moved_bytes <= core.l2_bytes:
        return f"all of it fits into the second-level cache ({bytes_text(core.l2_bytes)})"
    largest = max(core.l1_bytes, core.l2_bytes)
    return f"that is more than the caches hold ({bytes_text(largest)}), so a part comes from memory"


def _waiting(study: Study, node: PlannedNode) -> list[str]:
    """A sentence that compares the node's cycles per slot with those of the whole network.

    A node with more than `WAITS_MORE` times as many is said to wait. Without modelled cycles the
    list is empty.
    """
    slots = study.node_slots[node.value]
    if not has_cycles(study) or not slots or not study.all_slots:
        return []
    own, average = study.node_cycles(node) / slots, study.modelled.all_cycles / study.all_slots
    text = f"{own:.1f} cycles per slot; {average:.1f} in the whole network"
    if own > WAITS_MORE * average:
        return [f"{text}: it waits for memory or for its own earlier results."]
    return [f"{text}."]


def totals(study: Study) -> str:
    """The network's figures in one line."""
    macs = sum(node.macs for node in study.nodes)
    text = f"{study.name} for {study.target.name}: {macs:,} MACs, {study.all_slots:,.0f} slots"
    if has_cycles(study):
        text += f", {study.modelled.all_cycles:,.0f} modelled cycles"
    plan = study.plan
    return (
        f"{text}, arena {bytes_text(plan.arena.arena_bytes)}, "
        f"constants {bytes_text(plan.weight_bytes)}"
    )


def costliest(study: Study) -> Sequence[PlannedNode]:
    """The nodes by cost, the most expensive first; nodes of equal cost in graph order."""
    return sorted(study.nodes, key=lambda n: -share(study, n))


def share(study: Study, node: PlannedNode) -> float:
    """A node's share of the modelled cycles, or of the slots if cycles are not modelled."""
    if not has_cycles(study):
        return slot_share(study, node)
    all_cycles = study.modelled.all_cycles
    return study.node_cycles(node) / all_cycles if all_cycles else 0.0


def slot_share(study: Study, node: PlannedNode) -> float:
    """A node's share of the network's slots."""
    return study.node_slots[node.value] / study.all_slots if study.all_slots else 0.0


def has_cycles(study: Study) -> bool:
    """Whether cycles are modelled for this target."""
    return not study.modelled.missing


def row(study: Study, node: PlannedNode) -> list[str]:
    """The cells of a node's row in the table of `of_network`."""
    slots = study.node_slots[node.value]
    cells = [
        f"%{node.value}",
        short_name(node, 36),
        node.operator,
        result_text(study, node),
        f"{node.macs:,}" if node.macs else "",
        rate(node, slots),
        bytes_text(node.moved_bytes) if node.moved_bytes else "",
        f"{slots:,.0f}" if slots else "",
        f"{slot_share(study, node):.1%}",
    ]
    if has_cycles(study):
        cells += [f"{study.node_cycles(node):,.0f}", f"{share(study, node):.1%}"]
    return cells


def rate(node: PlannedNode, cost: float) -> str:
    """Multiply-adds per unit of `cost` (slots or cycles) as text; empty if either is 0."""
    return f"{node.macs / cost:.2f}" if node.macs and cost else ""


def result_text(study: Study, node: PlannedNode) -> str:
    """Shape and type of a node's first result."""
    return type_text(study.graph.types[node.value])


def type_text(type_: TensorType) -> str:
    """A type as short text, such as `1x28x28x3 f32`."""
    return f"{'x'.join(map(str, type_.shape)) or 'scalar'} {type_.dtype.value}"
