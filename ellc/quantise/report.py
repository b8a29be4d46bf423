"""Shows a quantisation as text and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ellc.commands.output import bytes_text, shortened, table
from ellc.evaluate.report import Evaluation
from ellc.evaluate.tally import agreement, tally
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.printable import visible
from ellc.quantise.damage import LayerDamage
from ellc.quantise.quantising import Quantised
from ellc.quantise.speed import Speed


@dataclass(frozen=True)
class Outcome:
    """All that is known after a quantisation.

    `evaluation` has the answers of the float network and of the quantised one; without it,
    `not_evaluated` says why.
    """

    file: str
    file_bytes: int
    model_bytes: int
    calibrated: int
    quantised: Quantised
    damages: Sequence[LayerDamage]
    evaluation: Evaluation | None
    not_evaluated: str = ""
    speed: Speed | None = None

    @property
    def weighted(self) -> tuple[int, int]:
        """The convolutions and dense layers in integers, and all of them."""
        inside = sum(layer.kind == "product" for layer in self.quantised.layers)
        nodes = self.quantised.before.nodes
        return inside, sum(isinstance(node.op, Conv2D | Dense) for node in nodes)


def text(outcome: Outcome) -> str:
    """The report for people."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    header = ("layer", "computes", "range", "chosen by", "signal/noise", "saturated")
    rows = [
        (
            shortened(visible(d.name)),
            d.kind,
            f"{d.low:.4g} to {d.high:.4g}",
            d.chosen_by,
            f"{d.decibels:.1f} dB",
            f"{d.saturated:.2%}",
        )
        for d in outcome.damages
        if d.kind != "moved"
    ]
    yield table(header, rows, "  r rr")
    for name, why in outcome.quantised.left_float.items():
        yield f"{shortened(visible(name))} stays float: {why}"
    yield ""
    yield from _accuracy(outcome)
    if outcome.speed is not None:
        yield _cycles(outcome.speed)
    yield summary(outcome)


def _cycles(speed: Speed) -> str:
    left = f"; with {len(speed.slower)} layers left float, {speed.mixed:,.0f}"
    return (
        f"predicted cycles of a call on one core of {speed.target}: {speed.floats:,.0f} with "
        f"floats, {speed.integers:,.0f} with 8 bits{left if speed.slower else ''}"
    )


def summary(outcome: Outcome) -> str:
    """One line: the file, its size, and how many layers have 8 bits."""
    inside, total = outcome.weighted
    return (
        f"{visible(outcome.file)}: {inside} of {total} convolutions and dense layers in 8 bits, "
        f"{bytes_text(outcome.file_bytes)} (the model has {bytes_text(outcome.model_bytes)}); "
        f"calibrated with {_samples(outcome.calibrated)}"
    )


def _samples(count: int) -> str:
    return "1 sample" if count == 1 else f"{count:,} samples"


def _accuracy(outcome: Outcome) -> Iterator[str]:
    evaluation = outcome.evaluation
    if evaluation is None:
        yield f"accuracy not measured: {outcome.not_evaluated}"
        return
    rows = []
    for number, name in enumerate(evaluation.subjects):
        c = tally(evaluation.answers, number)
        right = f"{c.first} ({c.top1:.2%})", f"{c.among} ({c.top5:.2%})"
        rows.append((visible(name), c.samples, *right))
    yield table(("network", "samples", "top-1", "top-5"), rows, " rrr")
    both = agreement(evaluation.answers)
    total = both.same + len(both.different)
    yield f"same class ranked first: {both.same} of {total} ({both.same / max(1, total):.2%})"


def document(outcome: Outcome) -> dict[str, Any]:
    """The report for programs."""
    inside, total = outcome.weighted
    result: dict[str, Any] = {
        "file": outcome.file,
        "bytes": outcome.file_bytes,
        "model_bytes": outcome.model_bytes,
        "calibration_samples": outcome.calibrated,
        "weighted_layers": total,
        "weighted_layers_in_8_bits": inside,
        "layers": [asdict(damage) for damage in outcome.damages],
        "float_layers": dict(outcome.quantised.left_float),
        "accuracy": None,
    }
    if outcome.speed is not None:
        result["predicted_cycles"] = {
            "target": outcome.speed.target,
            "float": outcome.speed.floats,
            "all_8_bits": outcome.speed.integers,
            "written": outcome.speed.mixed,
        }
    if outcome.evaluation is not None:
        both = agreement(outcome.evaluation.answers)
        counts = [tally(outcome.evaluation.answers, n) for n in (0, 1)]
        result["accuracy"] = [
            {"network": name, "samples": c.samples, "top1": c.first, "top5": c.among}
            for name, c in zip(outcome.evaluation.subjects, counts, strict=True)
        ]
        result["same_class"] = both.same
    return result
