"""Draws a map of the arena over time, with a rectangle for every buffer.

The horizontal axis shows the steps of the plan, and the vertical axis the addresses in the arena.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.codegen.planning.memory import Lifetime
from ellc.commands.output import bytes_text
from ellc.explain.cost_level import type_text
from ellc.explain.names import short_name
from ellc.explain.study import PlannedNode, Study

_WIDTH_PX, _HEIGHT_PX, _LEFT_PX, _TOP_PX, _BELOW_PX = 940, 300, 84, 10, 34
_CHARACTER_PX = 7
_LABEL_HEIGHT_PX = 13
_GRID_LINES = 4


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts steps and addresses into pixels."""

    first: int
    steps: int
    arena_bytes: int

    def x(self, step: int) -> int:
        return _LEFT_PX + round((step - self.first) * _WIDTH_PX / max(1, self.steps))

    def y(self, address: int) -> int:
        """The y coordinate of an address; address 0 is at the bottom."""
        return _TOP_PX + _HEIGHT_PX - round(address * _HEIGHT_PX / max(1, self.arena_bytes))


def arena_map(study: Study) -> HtmlCode:
    """The map as SVG.

    The attribute `data-key` of a buffer's group names the value of the first node that writes the
    buffer. A buffer that no node writes has no such attribute.
    """
    arena, steps = study.plan.arena, study.plan.steps
    scale = _Scale(0, len(steps), arena.arena_bytes)
    owners = _owners(study)
    size = (_LEFT_PX + _WIDTH_PX + 10, _TOP_PX + _HEIGHT_PX + _BELOW_PX)
    parts = [
        html_code('<svg class="arena" viewBox="0 0 {} {}">', *size),
        *_axes(scale),
        *(
            _rectangle(study, x, scale, owners.get(x.id))
            for x in sorted(arena.lifetimes, key=lambda x: (x.first, arena.offsets[x.id]))
        ),
        HtmlCode("</svg>"),
    ]
    return html_joined(parts, "\n")


def _owners(study: Study) -> dict[str, PlannedNode]:
    """The first node that writes each buffer, by the buffer's id."""
    owners: dict[str, PlannedNode] = {}
    for node in study.nodes:
        for value in node.node.outputs:
            access = study.plan.accesses.get(value) or study.plan.windows.get(value)
            if access is not None:
                owners.setdefault(access.buffer.id, node)
        for step in node.steps:
            for arg in step.call.placed_args:
                buffer = getattr(arg, "buffer", None)
                if buffer is not None and buffer.kind == "scratch":
                    owners.setdefault(buffer.id, node)
    return owners


def _axes(scale: _Scale) -> Iterator[HtmlCode]:
    right = _LEFT_PX + _WIDTH_PX
    for part in range(_GRID_LINES + 1):
        address = scale.arena_bytes * part // _GRID_LINES
        y = scale.y(address)
        yield html_code('<line x1="{}" y1="{}" x2="{}" y2="{}"/>', _LEFT_PX, y, right, y)
        yield html_code(
            '<text x="{}" y="{}" text-anchor="end">{}</text>',
            *(_LEFT_PX - 8, y + 4, html_text(bytes_text(address))),
        )
    below = _TOP_PX + _HEIGHT_PX
    for step in _ticks(scale.steps):
        yield html_code(
            '<text x="{}" y="{}" text-anchor="middle">{}</text>', scale.x(step), below + 15, step
        )
    yield html_code(
        '<text x="{}" y="{}" text-anchor="end">step of the plan</text>', right, below + 30
    )


def _ticks(steps: int) -> range:
    """The steps that get a label: at most 13, at a distance of 1, 2 or 5 times a power of ten."""
    distance = next(n * 10**e for e in range(12) for n in (1, 2, 5) if steps <= 12 * n * 10**e)
    return range(0, steps + 1, distance)


def _rectangle(study: Study, life: Lifetime, scale: _Scale, owner: PlannedNode | None) -> HtmlCode:
    offset = study.plan.arena.offsets[life.id]
    left = scale.x(max(0, life.first))
    width = max(2, scale.x(min(scale.steps, life.last + 1)) - left - 1)
    top = scale.y(offset + life.bytes)
    height = max(2, scale.y(offset) - top - 1)
    kind = study.plan.buffers[life.id].kind
    description = f"{_contents(study, life, owner)}\n{bytes_text(life.bytes)} at {offset:,}, "
    description += "always" if kind == "state" else f"steps {life.first} to {life.last}"
    key = html_code(' data-key="{}"', html_text(owner.value)) if owner else HtmlCode("")
    label = f"%{owner.value}" if owner else life.id
    fits = len(label) * _CHARACTER_PX < width and height > _LABEL_HEIGHT_PX
    centre = (left + width // 2, top + height // 2 + 4)
    text = html_code(
        '<text x="{}" y="{}" text-anchor="middle">{}</text>', *centre, html_text(label)
    )
    return html_code(
        '<g class="life {}"{}><title>{}</title><rect x="{}" y="{}" width="{}" height="{}"/>{}</g>',
        *(HtmlCode(kind), key, html_joined(map(html_text, description.split("\n")), "\n")),
        *(left, top, width, height, text if fits else HtmlCode("")),
    )


def _contents(study: Study, life: Lifetime, owner: PlannedNode | None) -> str:
    """Describe the content of a buffer: the value, or the scratch memory, of its first writer.

    A buffer that no node writes is described by its id.
    """
    if owner is None:
        return life.id
    scratch = study.plan.buffers[life.id].kind == "scratch"
    what = "scratch memory of" if scratch else type_text(study.graph.types[owner.value])
    return f"%{owner.value} {what} {short_name(owner)}"
