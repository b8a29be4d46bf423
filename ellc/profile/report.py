"""Shows a profile as text for people and as a JSON document for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from ellc.commands.output import bytes_text, table
from ellc.explain.names import middle_out
from ellc.ir.printable import visible
from ellc.profile.figures import Figures, Measure, Phase, Profile

_LONGEST_NAME = 36
_TIMES = ("fastest ms", "median ms", "90 % below")


def text(profile: Profile) -> str:
    """The report: tables of layers, kinds and phases, with lines that explain the figures."""
    return "\n".join(
        [
            f"{visible(profile.name)} for {profile.target}: {cost_text(profile, profile.whole)} "
            f"a call, {profile.macs:,} MACs",
            profile.label,
            "",
            _layers(profile),
            "",
            _kinds(profile),
            *(["", _phases(profile)] if profile.phases else []),
            "",
            *about(profile),
        ]
    )


def document(profile: Profile) -> dict[str, object]:
    """All data of a profile, with the label of its costs, ready for JSON."""
    bounds = replace(profile.bounds, macs=dict(profile.bounds.macs))
    known = asdict(replace(profile, bounds=bounds))
    head = {"name": profile.name, "target": profile.target, "measure": profile.measure}
    return {**head, "unit": profile.unit, "label": profile.label, **known, "macs": profile.macs}


def cost_text(profile: Profile, cost: float) -> str:
    """A cost with its unit."""
    return f"{number_text(profile.measure, cost)} {profile.unit}"


def number_text(measure: Measure, cost: float) -> str:
    """A cost without its unit."""
    return f"{cost:,.2f}" if measure == "time" else f"{cost:,.0f}"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage; empty if the fraction is not known."""
    return "" if fraction is None else f"{fraction:.0%}"


def figures_texts(measure: Measure, figures: Figures) -> tuple[str, ...]:
    """The cells of a table row, in the order of `columns`."""
    return (
        number_text(measure, figures.cost),
        f"{figures.share:.1%}",
        f"{figures.macs:,}" if figures.macs else "",
        percent(figures.of_peak),
        bytes_text(figures.moved_bytes) if figures.moved_bytes else "",
        percent(figures.of_memory),
    )


def columns(profile: Profile) -> tuple[str, ...]:
    """The headings of `figures_texts`."""
    return (profile.unit, "share", "MACs", "of peak", "moved", "of memory")


def between_texts(profile: Profile) -> tuple[str, str]:
    """Cost and share of the code that runs between the layers."""
    share = profile.between / profile.whole if profile.whole else 0.0
    return number_text(profile.measure, profile.between), f"{share:.1%}"


def about(profile: Profile) -> list[str]:
    """Lines about the arena, and about the bounds of the core to which the columns refer."""
    peak, memory = profile.bounds.macs, profile.bounds.bytes
    live = max(profile.live_bytes, default=0)
    lines = [
        f"arena {bytes_text(profile.arena_bytes)}, at most {bytes_text(live)} of it live at once; "
        f"constants {bytes_text(profile.constant_bytes)}"
    ]
    if peak:
        known = ", ".join(f"{rate:,.1f} of {numbers}s" for numbers, rate in peak.items())
        lines.append(f"peak of one core, in multiply-adds per {profile.one}: {known}")
    if memory is not None:
        lines.append(
            f"memory: {memory:,.1f} bytes per {profile.one}; above 100 % means that caches helped"
        )
    return lines


def _layers(profile: Profile) -> str:
    rows: list[Sequence[str]] = [
        (
            f"%{layer.value}",
            middle_out(layer.name, _LONGEST_NAME),
            layer.operator,
            *figures_texts(profile.measure, layer.figures),
            bytes_text(layer.live_bytes),
        )
        for layer in profile.layers
    ]
    cost, share = between_texts(profile)
    rows.append(("", "between the layers", "", cost, share, "", "", "", "", ""))
    return table(("node", "layer", "operator", *columns(profile), "live"), rows, "   rrrrrrr")


def _kinds(profile: Profile) -> str:
    rows = [
        (kind.kind, kind.layers, *figures_texts(profile.measure, kind.figures))
        for kind in profile.kinds
    ]
    return table(("kind", "layers", *columns(profile)), rows, " rrrrrrr")


def phase_name(profile: Profile, phase: Phase) -> str:
    """The name of a phase, with the machine on which it was timed if that is not the board."""
    return f"{phase.name} (on this machine)" if profile.board and phase.parts else phase.name


def _phases(profile: Profile) -> str:
    rows = [
        (
            phase_name(profile, p),
            p.samples,
            *(f"{ms:,.3f}" for ms in (p.fastest_ms, p.median_ms, p.p90_ms)),
        )
        for p in profile.phases
    ]
    header = ("phase" if profile.board else "phase on this machine", "runs", *_TIMES)
    return table(header, rows, " rrrr")
