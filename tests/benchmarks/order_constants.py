"""Measure what the constants of the scheduler for in-order cores are worth.

    python tests/benchmarks/order_constants.py MODEL... [--target pi3]

For each model it plans the network once. Each loop nest that ellc schedules is translated with the
constants as they are, and with each of them changed. It prints the predicted cycles of all nests
(`codegen/machine/pipeline.py`) beside those of the present constants, and the CPU seconds of the
scheduler. A nest counts as often as the code of the plan contains it, not as often as it is called.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.kir.assembly import Frame  # noqa: E402
from ellc.codegen.kir.in_order import kept, list_schedule, scheduler, translate  # noqa: E402
from ellc.codegen.kir.in_order.code import Node  # noqa: E402
from ellc.codegen.kir.in_order.encoding import Encoding  # noqa: E402
from ellc.codegen.kir.in_order.translate import Translated  # noqa: E402
from ellc.codegen.machine.pipeline import Issue  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.ir.graph import Graph  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402
from ellc.models import read_model  # noqa: E402

Change = Mapping[str, object]
"""Constants by name, with another value."""
MODULES = {
    "_RESERVES": translate,
    "_WINDOWS": translate,
    "CAREFUL_WINDOW": list_schedule,
    "_SLACK": list_schedule,
}
AS_THEY_ARE = "as they are"


def changes() -> dict[str, Change]:
    """The measured changes, by a name."""
    reserves, windows = translate._RESERVES, translate._WINDOWS
    more: tuple[Mapping[str, int], ...] = ({"x": 2}, {"v": 1}, {"x": 2, "v": 1})
    return {
        AS_THEY_ARE: {},
        **{f"without {r}": {"_RESERVES": _without(reserves, r)} for r in reserves},
        **{f"with {r} besides": {"_RESERVES": (*reserves, r)} for r in more},
        **{f"without window {w}": {"_WINDOWS": _without(windows, w)} for w in windows},
        **{f"with window {w} besides": {"_WINDOWS": (*windows, w)} for w in (28, 52)},
        **{f"careful window {w}": {"CAREFUL_WINDOW": w} for w in (32, 64, 128)},
        **{f"slack {s}": {"_SLACK": s} for s in (0, 4, 16)},
    }


def _without(values: Sequence[object], dropped: object) -> tuple[object, ...]:
    return tuple(value for value in values if value != dropped)


@dataclass(slots=True)
class Sums:
    """Predicted cycles and CPU seconds of all nests, by change."""

    cycles: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, cycles: float, seconds: float) -> None:
        """Add a nest."""
        self.cycles[name] = self.cycles.get(name, 0.0) + cycles
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def measured(graph: Graph, target: Target, wanted: Mapping[str, Change]) -> Sums:
    """The sums of a network's nests."""
    sums = Sums()

    def each(
        nodes: list[Node], frame: Frame, encoding: Encoding, rows: Mapping[str, Issue]
    ) -> Translated:
        for name, change in wanted.items():
            with _changed(change):
                start = time.process_time()
                found = translate.translate(nodes, frame, encoding, rows)
                sums.add(name, found.cycles, time.process_time() - start)
        return translate.translate(nodes, frame, encoding, rows)

    with patch.object(scheduler, "translate", each), patch.dict(os.environ, {kept.VARIABLE: ""}):
        make_plan(run_pipeline(graph)[0], target, Options(), "network")
    return sums


@contextmanager
def _changed(change: Change) -> Iterator[None]:
    undo: list[Callable[[], None]] = []
    for name, value in change.items():
        patcher = patch.object(MODULES[name], name, value)
        patcher.start()
        undo.append(patcher.stop)
    try:
        yield
    finally:
        for stop in undo:
            stop()


def rows_of(sums: Sums) -> Iterator[str]:
    """A line of text for each change."""
    base = sums.cycles.get(AS_THEY_ARE, 0.0)
    for name, cycles in sums.cycles.items():
        yield f"{name:32} {100 * (cycles / base - 1):+7.2f} % {sums.seconds[name]:8.2f} s"


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--target", default="pi3")
    arguments = parser.parse_args()
    for path in arguments.models:
        print(path.name)
        sums = measured(read_model(path), resolve(arguments.target), changes())
        print(*rows_of(sums), sep="\n", flush=True)


if __name__ == "__main__":
    main()
