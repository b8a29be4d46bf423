"""Plans for little memory: chains, strips of columns, and the curve of memory against work.

A plan's arena is known exactly only when the plan is made. The predicted memory of a division
(`pieces`) says which plans are worth making.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ellc.codegen.blocks.access import ARENA_ALIGN
from ellc.codegen.blocks.calls import BufferArg, Chain, Options
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.chained import Candidates
from ellc.codegen.planning.choice import AskedKernels, code_goal
from ellc.codegen.planning.depth_first import Divisions
from ellc.codegen.planning.loops import flattened
from ellc.codegen.planning.narrowing import narrowed
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.step_costs import step_costs
from ellc.codegen.planning.tuning import NO_TUNING, TunedKernels
from ellc.ir.branches import needs
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph

TOO_LITTLE_RAM = "E317"
FREE = 0.002
"""A microcontroller's plan has chains that save memory if they are predicted to take at most this
part of a call more: predictions err by as much. A chain of bands of 8 rows of the Visual Wake Words
network saves 11,008 of 55,360 bytes; it was predicted to take 0.13 % more cycles of a Cortex-M7,
takes 0.25 % less by a model of the core, and has 2,400 bytes of code more. Chains of ResNet8 (0.6 %
predicted, 1.4 % modelled) and of a YOLO for faces (0.5 %, 0.1 %) save 15 and 6 % of the memory."""
_MOST_PLANS = 24
"""The most plans of a curve. If there are more divisions, some of them are left out."""


@dataclass(frozen=True, slots=True)
class RamPoint:
    """A plan with chains: the bytes of its arena, its multiply-adds, and the predicted cost.

    `macs` includes products that strips compute again. `more_cycles` is the predicted difference to
    layers that run one after the other.
    """

    arena_bytes: int
    macs: int
    more_cycles: float
    chains: tuple[Chain, ...]


def plan_within(
    graph: Graph,
    target: Target,
    options: Options,
    prefix: str,
    tuned: TunedKernels = NO_TUNING,
    *,
    other_bytes: int = 0,
) -> Plan:
    """Like `make_plan`, for an arena of at most `options.max_ram_bytes`, if that is given.

    On microcontrollers chains also save memory that costs no time (`FREE`), unless code should be
    fast or small. The limit includes `other_bytes` that are not part of the arena. The arena must
    also fit in `options.memories`, if there are any. Of the plans that fit, the one with the fewest
    predicted cycles is taken. Raises `EllcError` E317, which names the smallest possible arena, if
    no plan fits.
    """
    plan = make_plan(graph, target, options, prefix, tuned)
    if _may_save(options, target):
        plan = _saving(plan, graph, prefix, tuned)
    limit = float("inf")
    if options.max_ram_bytes is not None:
        limit = options.max_ram_bytes - other_bytes
    if options.memories:
        limit = min(limit, sum(size for _, size in options.memories))
    if _fits(plan, limit):
        return plan
    least = plan.arena.arena_bytes
    for chains, _ in _divisions(graph, target, options, tuned, limit):
        plan = make_plan(graph, target, replace(options, chains=chains), prefix, tuned)
        if _fits(plan, limit):
            return plan
        least = min(least, plan.arena.arena_bytes)
    raise _too_little(options, least + other_bytes)


def _may_save(options: Options, target: Target) -> bool:
    """Whether chains may be chosen to save memory that nobody has asked for."""
    is_usual = options.depth_first and not options.chains and options.threads == 1
    return is_usual and target.os == "none" and code_goal(target, options.code) == "balanced"


def _saving(layers: Plan, graph: Graph, prefix: str, tuned: TunedKernels) -> Plan:
    """The plan with the chains that save most memory at no cost; `layers`, if there are none."""
    target, options = layers.target, layers.options
    core = target.core
    limit = FREE * sum(cost.cycles(core) for cost in step_costs(layers.steps, target))
    flat, divisions = _divided(graph, layers, options, tuned, strips=False)
    whole, *smaller = divisions.curve()
    free = [d for d in smaller if d.cycles - whole.cycles <= limit]
    if not free:
        return layers
    asked = replace(options, chains=free[-1].chains(flat))
    plan = make_plan(graph, target, asked, prefix, tuned)
    return plan if plan.arena.arena_bytes < layers.arena.arena_bytes else layers


def _fits(plan: Plan, limit: float) -> bool:
    in_memories = bool(plan.arena.regions) or not plan.options.memories
    return plan.arena.arena_bytes <= limit and in_memories


def _too_little(options: Options, least: int) -> EllcError:
    """The error for a network whose smallest arena has `least` bytes."""
    if options.max_ram_bytes is None or least <= options.max_ram_bytes:
        sizes = ", ".join(f"{name} {size:,}" for name, size in options.memories)
        allowed = f"memories have for the arena ({sizes})"
        hint = f"give more bytes of a memory: {least:,} of one are enough for the arena"
    else:
        allowed = f"{options.max_ram_bytes:,} allowed"
        hint = f"use --max-ram {least}"
    return EllcError(
        f"the network needs at least {least:,} bytes of RAM, more than the {allowed}",
        code=TOO_LITTLE_RAM,
        hint=f"{hint}; or give smaller inputs (--shape), or a smaller network",
    )


def ram_curve(
    graph: Graph, target: Target, options: Options, prefix: str, tuned: TunedKernels = NO_TUNING
) -> tuple[RamPoint, ...]:
    """Plans that need less and less memory, from layers to the smallest possible arena.

    A plan is left out if another one needs no more memory, products or predicted cycles.
    """
    layers = make_plan(graph, target, replace(options, depth_first=False), prefix, tuned)
    points = [_point(layers, 0.0)]
    found = [*_divisions(graph, target, options, tuned, float("inf"))]
    step = max(1, -(-len(found) // _MOST_PLANS))
    chosen = [*found[::step], *found[-1:]]
    for chains, cycles in dict(chosen).items():
        if chains:
            asked = replace(options, chains=chains)
            points.append(_point(make_plan(graph, target, asked, prefix, tuned), cycles))
    points.sort(key=lambda p: (-p.arena_bytes, -p.more_cycles, -p.macs))
    return tuple(
        p for i, p in enumerate(points) if not any(_is_better(q, p) for q in points[i + 1 :])
    )


def _is_better(a: RamPoint, b: RamPoint) -> bool:
    return all(
        x <= y
        for x, y in (
            (a.arena_bytes, b.arena_bytes),
            (a.macs, b.macs),
            (a.more_cycles, b.more_cycles),
        )
    )


def _point(plan: Plan, cycles: float) -> RamPoint:
    macs = sum(step.macs for step in plan.steps)
    return RamPoint(plan.arena.arena_bytes, macs, cycles, plan.options.chains)


def _divisions(
    graph: Graph, target: Target, options: Options, tuned: TunedKernels, limit: float
) -> Iterator[tuple[tuple[Chain, ...], float]]:
    """(chains, predicted cycles) of divisions that are predicted to need at most `limit` bytes.

    The last one is the smallest division, even if it is predicted to need more.
    """
    asked = replace(options, depth_first=False, chains=())
    layers = make_plan(graph, target, asked, "m", tuned)
    flat, divisions = _divided(graph, layers, options, tuned, strips=True)
    curve = divisions.curve()
    for division in curve:
        if division.ram_bytes <= limit:
            yield division.chains(flat), division.cycles
    if curve[-1].ram_bytes > limit:
        yield curve[-1].chains(flat), curve[-1].cycles


def _divided(
    graph: Graph, layers: Plan, options: Options, tuned: TunedKernels, *, strips: bool
) -> tuple[Graph, Divisions]:
    """The graph whose nodes are divided, and all its divisions. `layers` is its plan."""
    target = layers.target
    narrow = narrowed(graph, target, [name for name, _ in options.kernels])
    flat = flattened(narrow.graph)
    kernels = AskedKernels(dict(options.kernels), dict(narrow.kernels))
    candidates = Candidates(flat, needs(flat), target, options, tuned, kernels)
    return flat, candidates.divisions(_scratch(layers), strips=strips)


def _scratch(plan: Plan) -> dict[str, int]:
    """The bytes of scratch memory that the kernels of each result need."""
    found: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for step in plan.steps:
        for arg in step.call.placed_args:
            if isinstance(arg, BufferArg) and arg.buffer.kind == "scratch":
                size = -(-arg.buffer.bytes // ARENA_ALIGN) * ARENA_ALIGN
                waiting[arg.buffer.id] = size
        if step.values:
            found.update(dict.fromkeys(step.values, sum(waiting.values())))
            waiting = {}
    return found
