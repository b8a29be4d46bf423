"""Draws a roofline: the rates of the layers below the bounds of core and memory, on log axes.

The x coordinate of a layer is its multiply-adds per byte moved, the y coordinate its multiply-adds
per unit of cost. A flat roof is the core's peak for one type of factors. The slanted roof is the
rate of the memory times the multiply-adds per byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ellc.codegen.languages.foreign_text import HtmlCode, html_code, html_joined, html_text
from ellc.profile.bounds import numbers_of
from ellc.profile.figures import Layer, Profile
from ellc.profile.flame import colours
from ellc.profile.report import cost_text, percent

_LEFT, _TOP, _WIDTH, _HEIGHT, _BELOW = 90, 10, 820, 360, 44
_LEAST_PX, _LARGEST_PX = 4, 16


@dataclass(frozen=True, slots=True)
class _Point:
    layer: Layer
    per_byte: float
    per_unit: float


@dataclass(frozen=True, slots=True)
class _Axis:
    """A log axis from 10**low to 10**high. `start` and `length` are in pixels.

    The y axis has a negative length, because pixels count downwards.
    """

    low: int
    high: int
    start: int
    length: int

    def at(self, value: float) -> int:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + round(self.length * min(1.0, max(0.0, part)))


def roofline(profile: Profile) -> HtmlCode | None:
    """The picture as SVG; None if no layer has multiply-adds, moved bytes and a cost."""
    points = list(_points(profile))
    if not points:
        return None
    roofs = _roofs(profile, points)
    x = _axis([p.per_byte for p in points], _LEFT, _WIDTH)
    y = _axis([*(p.per_unit for p in points), *roofs.values()], _TOP + _HEIGHT, -_HEIGHT)
    kinds = colours(profile)
    size = (_LEFT + _WIDTH + 20, _TOP + _HEIGHT + _BELOW)
    parts = [
        html_code('<svg class="roofline" viewBox="0 0 {} {}">', *size),
        *_grid(x, y, profile.one),
        *_memory_roof(profile, x, y),
        *(_peak_roof(name, rate, x, y) for name, rate in roofs.items()),
        *(_dot(profile, point, kinds[point.layer.kind], x, y) for point in points),
        HtmlCode("</svg>"),
    ]
    return html_joined(parts, "\n")


def _points(profile: Profile) -> Iterator[_Point]:
    for layer in profile.layers:
        f = layer.figures
        if f.macs and f.moved_bytes and f.cost:
            yield _Point(layer, f.macs / f.moved_bytes, f.macs / f.cost)


def _roofs(profile: Profile, points: list[_Point]) -> dict[str, float]:
    """The known peaks of the core for the types of factors that the layers multiply, by label."""
    used = dict.fromkeys(numbers_of(point.layer.kind) for point in points)
    return {
        f"peak of {numbers}s": profile.bounds.macs[numbers]
        for numbers in used
        if numbers in profile.bounds.macs
    }


def _axis(values: list[float], start: int, length: int) -> _Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Axis(low, max(high, low + 1), start, length)


def _grid(x: _Axis, y: _Axis, unit: str) -> Iterator[HtmlCode]:
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT
    for power in range(x.low, x.high + 1):
        at = x.at(10.0**power)
        yield html_code('<line x1="{}" y1="{}" x2="{}" y2="{}"/>', at, _TOP, at, bottom)
        yield _text(at, bottom + 16, "middle", _power(power))
    for power in range(y.low, y.high + 1):
        at = y.at(10.0**power)
        yield html_code('<line x1="{}" y1="{}" x2="{}" y2="{}"/>', _LEFT, at, right, at)
        yield _text(_LEFT - 8, at + 4, "end", _power(power))
    yield _text(right, bottom + 34, "end", "multiply-adds per byte moved")
    yield html_code(
        '<text transform="translate({} {}) rotate(-90)" text-anchor="middle">{}</text>',
        *(16, _TOP + _HEIGHT // 2, html_text(f"multiply-adds per {unit}")),
    )


def _power(power: int) -> str:
    """A power of ten as text: `1e5` and `1e-4`, but `100` and `0.01`."""
    return f"{10.0**power:g}" if -4 < power < 5 else f"1e{power}"


def _memory_roof(profile: Profile, x: _Axis, y: _Axis) -> Iterator[HtmlCode]:
    """The slanted roof with its label, clipped to the axes."""
    rate = profile.bounds.bytes
    if rate is None:
        return
    first = max(10.0**x.low, 10.0**y.low / rate)
    last = min(10.0**x.high, 10.0**y.high / rate)
    if first >= last:
        return
    ends = (x.at(first), y.at(first * rate), x.at(last), y.at(last * rate))
    yield html_code('<line class="roof" x1="{}" y1="{}" x2="{}" y2="{}"/>', *ends)
    yield _text(ends[0] + 6, ends[1] - 8, "start", f"memory, {rate:,.1f} bytes per {profile.one}")


def _peak_roof(name: str, rate: float, x: _Axis, y: _Axis) -> HtmlCode:
    right, at = _LEFT + _WIDTH, y.at(rate)
    line = html_code('<line class="roof" x1="{}" y1="{}" x2="{}" y2="{}"/>', x.start, at, right, at)
    return html_joined([line, _text(right - 4, at - 5, "end", f"{name}, {rate:,.1f}")])


def _dot(profile: Profile, point: _Point, kind: str, x: _Axis, y: _Axis) -> HtmlCode:
    """A circle whose area grows with the layer's share of the cost."""
    figures = point.layer.figures
    radius = _LEAST_PX + round((_LARGEST_PX - _LEAST_PX) * min(1.0, figures.share) ** 0.5)
    lines = [
        f"%{point.layer.value} {point.layer.name}",
        f"{point.layer.operator}: {cost_text(profile, figures.cost)}, {figures.share:.1%}",
        f"{point.per_byte:,.3g} multiply-adds per byte, "
        f"{percent(figures.of_peak) or 'unknown part'} of the peak",
    ]
    return html_code(
        '<g class="{}"><title>{}</title><circle cx="{}" cy="{}" r="{}"/></g>',
        HtmlCode(kind),
        html_joined(map(html_text, lines), "\n"),
        *(x.at(point.per_byte), y.at(point.per_unit), radius),
    )


def _text(x: int, y: int, anchor: str, text: str) -> HtmlCode:
    return html_code(
        '<text x="{}" y="{}" text-anchor="{}">{}</text>', x, y, HtmlCode(anchor), html_text(text)
    )
