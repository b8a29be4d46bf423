"""The level `plan`: candidate kernels, their predicted costs, and the operands in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ellc.codegen.blocks.calls import BufferArg, PlacedArg
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.planning.plan import Plan, Step
from ellc.commands.output import bytes_text, table
from ellc.explain.names import short_name
from ellc.explain.study import PlannedNode, Study

WHAT_CYCLES_ARE = (
    "Predicted cycles count issue slots of one core in the kernel's inner loops. They leave out\n"
    "what all candidates have in common: the epilogue, and waiting for memory."
)


def of_network(study: Study) -> str:
    """The sizes of memory, and a table of the nodes' kernels and numbers of candidates."""
    plan = study.plan
    lines = [
        f"arena {plan.arena.arena_bytes:,} bytes ({plan.arena.lower_bound_bytes:,} are live at "
        f"once), constants {plan.weight_bytes:,} bytes, {len(plan.steps)} steps",
        "",
    ]
    rows = [_row(node) for node in study.nodes]
    header = ["node", "layer", "operator", "kernel", "variant", "predicted", "candidates"]
    return "\n".join([*lines, table(header, rows, "     rr"), "", WHAT_CYCLES_ARE])


def of_node(study: Study, node: PlannedNode) -> str:
    """The candidates, the reason for the choice, and the steps with their operands in memory."""
    lines = [f"{short_name(node)}: {node.operator}", "", why(study, node)]
    if node.predictions:
        lines += ["", candidates_table(node)]
    for step in node.steps:
        lines += ["", *step_lines(study.plan, step)]
    return "\n".join(lines)


def why(study: Study, node: PlannedNode) -> str:
    """One or more sentences that say why a node has its kernel."""
    if not node.steps:
        return "No kernel: the result is a view of bytes that are already there."
    if not node.predictions:
        return "This node has no kernel: it is only copied."
    chosen, *others = node.predictions
    if not others:
        return f"{chosen.name} is the only kernel that can compute this here."
    named = (*node.node.outputs, *node.node.source)
    if any(layer in named for layer, _ in study.plan.options.kernels):
        return f"{chosen.name} was requested (--kernel)."
    layer = node.steps[-1].layer
    if chosen.is_named(study.tuned.of(layer).name):
        source = "--tuning" if layer in study.tuned.asked else "ellc's own tuning file"
        return f"{chosen.name} was measured to be fastest ({source})."
    families = len({p.kernel for p in node.predictions})
    if families > 1:
        text = f"Of {families} families, {chosen.kernel}'s own choice is predicted to be cheapest."
    else:
        text = f"{chosen.kernel} is the only family that can compute this here."
    if chosen.schedule:
        text += f" Its own rule takes the schedule {chosen.schedule}."
    return text + _cheaper(chosen, others)


def _cheaper(chosen: Prediction, others: Sequence[Prediction]) -> str:
    """A sentence about the candidates that are predicted to be cheaper than the chosen one."""
    cheaper = [p.name for p in others if p.known_cycles < chosen.known_cycles]
    if not cheaper:
        return ""
    return (
        f" Predicted to be cheaper: {', '.join(cheaper)}; but the rule considers what predictions "
        "leave out, such as spilled registers. --kernel selects another one."
    )


def candidates_table(node: PlannedNode) -> str:
    """The candidates, the chosen one first."""
    rows = [_candidate(p, node.predictions[0]) for p in node.predictions]
    return table(["candidate", "schedule", "predicted", "of the chosen"], rows, "  rr")


def step_lines(plan: Plan, step: Step) -> Iterator[str]:
    """Lines about a step: its kernel, the extent of its loop, and its arguments in memory."""
    variant = f" [{step.call.note}]" if step.call.note else ""
    yield f"step {step.name}{variant}"
    if step.call.kernel.name != step.name:
        yield f"  shares the kernel of an equal step: {step.call.kernel.name}"
    repeat = f", run {step.repeat.trips} times by a loop" if step.repeat else ""
    trips = "1 trip" if step.call.extent == 1 else f"{step.call.extent:,} trips"
    yield f"  outermost loop of {trips}{repeat}"
    rows = [
        ["", p.name, p.elem.value, *argument(plan, arg)]
        for p, arg in zip(step.call.kernel.params, step.call.placed_args, strict=True)
    ]
    yield table(["", "argument", "element", "where", "bytes"], rows, "    r")


def _row(node: PlannedNode) -> list[object]:
    operator, chosen = node.operator, node.predictions[0] if node.predictions else None
    kernel = chosen.name if chosen else "copy" if node.steps else "view"
    variant = node.steps[-1].call.note if node.steps else ""
    cycles = f"{chosen.cycles:,.0f}" if chosen and chosen.cycles is not None else ""
    layer = short_name(node, 40)
    return [f"%{node.value}", layer, operator, kernel, variant, cycles, len(node.predictions)]


def _candidate(prediction: Prediction, chosen: Prediction) -> list[str]:
    cycles = prediction.cycles
    ratio = f"{cycles / chosen.cycles:.2f}" if cycles is not None and chosen.cycles else ""
    shown = "" if cycles is None else f"{cycles:,.0f}"
    return [prediction.kernel, prediction.schedule, shown, ratio]


def argument(plan: Plan, arg: PlacedArg) -> list[str]:
    """Two texts: where an argument is in memory, and the size of its constant or buffer."""
    if not isinstance(arg, BufferArg):
        return [f"constant +{arg.offset_bytes}", bytes_text(arg.weight.bytes)]
    buffer = arg.buffer
    if buffer.kind in ("input", "output"):
        location = f"the caller's {buffer.kind} {buffer.index} +{arg.offset_bytes}"
    else:
        location = f"arena at {plan.arena_offset(buffer):,} +{arg.offset_bytes} ({buffer.id})"
    return [location, bytes_text(buffer.bytes)]
