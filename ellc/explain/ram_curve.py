"""The curve of RAM against multiply-adds that are computed again: what less memory costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.languages.names import valid_name
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.ram_limit import RamPoint, ram_curve
from ellc.commands.output import table
from ellc.explain.study import StudyOptions, plan_options
from ellc.ir.pipeline import PipelineOptions, default_groups, run_pipeline
from ellc.models import default_name, read_model
from ellc.progress import Progress, silent
from ellc.tuning import tuned_kernels

WHAT_IT_SHOWS = (
    "RAM is the arena: intermediate results, states and scratch memory, without the caller's "
    "inputs and outputs.\nMACs and cycles are compared with layers that run one after the other; "
    "cycles are predicted.\n`ellc compile --max-ram BYTES` compiles a point of this curve."
)


@dataclass(frozen=True)
class RamCurve:
    """The points of a network's curve for a target, from the most RAM to the least."""

    name: str
    target: str
    points: tuple[RamPoint, ...]

    def text(self) -> str:
        """A table of the points, and an explanation."""
        rows = [
            [
                f"{point.arena_bytes:,}",
                f"{self._macs(point):.3f}",
                f"{point.more_cycles:+,.0f}",
                str(len(point.chains)),
                max((f"{c.rows} rows" for c in point.chains), default=""),
            ]
            for point in self.points
        ]
        header = ["RAM in bytes", "MACs", "predicted cycles", "chains", "largest bands"]
        return "\n".join([table(header, rows, "rrrr "), "", WHAT_IT_SHOWS])

    def document(self) -> dict[str, object]:
        """The points for scripts."""
        return {
            "name": self.name,
            "target": self.target,
            "points": [
                {
                    "arena_bytes": point.arena_bytes,
                    "macs": point.macs,
                    "macs_ratio": round(self._macs(point), 6),
                    "predicted_more_cycles": round(point.more_cycles),
                    "chains": [
                        {"first": c.first, "last": c.last, "rows": c.rows, "columns": c.columns}
                        for c in point.chains
                    ],
                }
                for point in self.points
            ],
        }

    def _macs(self, point: RamPoint) -> float:
        """The multiply-adds of a point, compared with those of layers."""
        least = min(p.macs for p in self.points)
        return point.macs / least if least else 1.0


def curve_of(
    source: Path, target: Target, options: StudyOptions, progress: Progress = silent
) -> RamCurve:
    """The curve of a model file. Raises `EllcError` if it cannot be read or compiled."""
    progress("reading the model", 0, 0)
    graph = read_model(source, options.model)
    name = valid_name(default_name(source))
    progress("passes", 0, 0)
    ready, _ = run_pipeline(graph, default_groups(PipelineOptions(optimize=options.optimize)))
    tuned, _ = tuned_kernels(options.tuning, target, shipped=options.shipped_tuning)
    progress("planning", 0, 0)
    asked = plan_options(options, target)
    return RamCurve(name, target.name, ram_curve(ready, target, asked, name, tuned))
