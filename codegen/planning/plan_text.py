"""A plan as text: where everything lies, and what is called in which order."""

from __future__ import annotations

from collections.abc import Iterator

from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.blocks.lowering import Arg, BufferArg
from ellc.codegen.planning.plan import Plan, Step


def print_plan(plan: Plan) -> str:
    """The arena, the constants and the steps, a line each."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"arena {plan.arena.arena_bytes} bytes, constants {plan.weight_bytes} bytes"
    for id_, offset in sorted(plan.arena.offsets.items(), key=lambda item: (item[1], item[0])):
        yield f"at {offset}: {id_}"
    numbers = {weight.key: number for number, (weight, _) in enumerate(plan.weights)}
    for weight, offset in plan.weights:
        yield f"constant {numbers[weight.key]} at {offset}: {weight.bytes} bytes"
    for step in (*plan.once, *plan.steps):
        yield f"{_step(step)}({', '.join(_argument(arg, numbers) for arg in step.call.args)})"
        if len(step.predictions) > 1:
            yield f"  candidates: {', '.join(map(_prediction, step.predictions))}"


def _step(step: Step) -> str:
    call, repeat = step.call, step.repeat
    loop = f"loop {repeat.number} of {repeat.trips} " if repeat else ""
    return f"{loop}{step.name} [{call.note}] {call.kernel.name} to {call.extent} "


def _prediction(prediction: Prediction) -> str:
    cycles = prediction.cycles
    return prediction.name if cycles is None else f"{prediction.name} {cycles:.0f} cycles"


def _argument(arg: Arg, numbers: dict[str, int]) -> str:
    if isinstance(arg, BufferArg):
        return f"{arg.buffer.id}+{arg.offset_bytes}+{arg.trip_bytes}*trip"
    return f"constant {numbers[arg.weight.key]}+{arg.offset_bytes}"
