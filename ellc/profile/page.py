"""Writes a profile as one HTML page without external resources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.languages.render import render_html
from ellc.commands.output import bytes_text
from ellc.explain.arena_map import arena_map
from ellc.explain.names import middle_out
from ellc.explain.study import Study
from ellc.ir.files import write_text
from ellc.profile.figures import Figures, Phase, Profile
from ellc.profile.flame import colours, flame
from ellc.profile.report import about, between_texts, columns, cost_text, figures_texts, phase_name
from ellc.profile.roofline import roofline

MOST_COSTLY = 12
_LONGEST_NAME = 34


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table or of the chart; `permille` is the length of its bar in thousandths."""

    name: str
    detail: str
    colour: str
    cells: tuple[str, ...]
    permille: int


def write_page(study: Study, profile: Profile, path: Path) -> None:
    """Write the page to `path`; raises `EllcError` (E703) if the file cannot be written."""
    write_text(path, page(study, profile))


def page(study: Study, profile: Profile) -> str:
    """The HTML of the page; `profile` must have been made from `study`."""
    return render_html(
        "profile.html.j2",
        "ellc.profile",
        name=profile.name,
        target=f"{study.target.name}: {study.target.description}",
        label=profile.label,
        totals=_totals(profile),
        about=about(profile),
        flame=flame(profile),
        costly=_costly(profile),
        columns=columns(profile),
        kinds=_kinds(profile),
        between=between_texts(profile),
        arena=arena_map(study),
        roofline=roofline(profile),
        phases=[_phase(profile, phase) for phase in profile.phases],
        layers=_layers(profile),
        notes=profile.notes,
    )


def _totals(profile: Profile) -> list[tuple[str, str]]:
    return [
        ("one call", cost_text(profile, profile.whole)),
        ("multiply-adds", f"{profile.macs:,}"),
        ("arena", bytes_text(profile.arena_bytes)),
        ("constants", bytes_text(profile.constant_bytes)),
    ]


def _costly(profile: Profile) -> list[_Row]:
    chosen = sorted(profile.layers, key=lambda layer: -layer.figures.cost)[:MOST_COSTLY]
    kinds, largest = colours(profile), max((x.figures.cost for x in chosen), default=0.0)
    return [
        _Row(
            middle_out(layer.name, _LONGEST_NAME),
            f"{layer.operator}, {layer.result}",
            kinds[layer.kind],
            (cost_text(profile, layer.figures.cost), f"{layer.figures.share:.1%}"),
            _permille(layer.figures, largest),
        )
        for layer in chosen
    ]


def _kinds(profile: Profile) -> list[_Row]:
    names = colours(profile)
    return [
        _Row(
            kind.kind,
            f"{kind.layers}",
            names[kind.kind],
            figures_texts(profile.measure, kind.figures),
            round(1000 * kind.figures.share),
        )
        for kind in profile.kinds
    ]


def _layers(profile: Profile) -> list[_Row]:
    kinds = colours(profile)
    return [
        _Row(
            layer.name,
            f"{layer.operator}, {layer.result}",
            kinds[layer.kind],
            (*figures_texts(profile.measure, layer.figures), bytes_text(layer.live_bytes)),
            round(1000 * layer.figures.share),
        )
        for layer in profile.layers
    ]


def _permille(figures: Figures, largest: float) -> int:
    return round(1000 * figures.cost / largest) if largest else 0


def _phase(profile: Profile, phase: Phase) -> tuple[str, ...]:
    parts = ", ".join(f"{name} {ms:,.0f} ms" for name, ms in phase.parts)
    times = (f"{ms:,.3f}" for ms in (phase.fastest_ms, phase.median_ms, phase.p90_ms))
    return (phase_name(profile, phase), f"{phase.samples}", *times, parts)
