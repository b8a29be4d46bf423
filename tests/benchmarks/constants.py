"""What tuned constants cost at other values: modelled Cortex-A53 cycles of layers they rule.

    ELLC_CYCLE_TOOL=... python tests/benchmarks/constants.py [--only NAME] [--target pi3_64]

A line for each constant and layer: cycles at each value, the code's own in brackets. A constant of
`TUNED` has the measurement beside it; another is added by a row.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cycles import kernel_cycles  # noqa: E402
from layer_list import Layer, plan_of  # noqa: E402

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402

DEPTHWISE = Layer(3, 96, 96, 56, 96, label="depthwise 3x3, 96, 56x56")
SMALL_DEPTHWISE = Layer(3, 256, 256, 14, 256, label="depthwise 3x3, 256, 14x14")
BYTES = Layer(1, 64, 64, 28, kind="8-bit")
WINDOWS = Layer(3, 64, 64, 28, kind="8-bit")


@dataclass(frozen=True)
class Tuned:
    """A constant of a module, values to try, and layers that it rules."""

    module: str
    name: str
    values: tuple[int, ...]
    layers: tuple[Layer, ...]


TUNED = (
    Tuned(
        "kernels.depthwise", "_LOADED_AT_ONCE", (1, 3, 5, 7, 9, 14), (DEPTHWISE, SMALL_DEPTHWISE)
    ),
    Tuned("blocks.terms", "_MOST_PRODUCTS", (1, 2, 4, 8), (BYTES, WINDOWS)),
)


def cycles(tuned: Tuned, layer: Layer, target: Target) -> dict[int, float]:
    """Cycles of the layer's kernels by the constant's value."""
    module = import_module(f"ellc.codegen.{tuned.module}")
    plans = []
    for value in tuned.values:
        with patch.object(module, tuned.name, value):
            plans.append((f"v{value}", plan_of(layer, target, f"v{value}")))
    counted = kernel_cycles(plans, target)
    return {
        value: sum(n for name, n in counted.items() if name.startswith(f"v{value}_"))
        for value in tuned.values
    }


def line(tuned: Tuned, layer: Layer, target: Target) -> str:
    """The cycles as text."""
    own = getattr(import_module(f"ellc.codegen.{tuned.module}"), tuned.name)
    found = cycles(tuned, layer, target)
    shown = [f"[{v}: {n:,.0f}]" if v == own else f"{v}: {n:,.0f}" for v, n in found.items()]
    return f"{tuned.module}.{tuned.name}  {layer.name}  {'  '.join(shown)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="constants whose name contains this")
    parser.add_argument("--target", default="pi3_64")
    given = parser.parse_args()
    target = resolve(given.target)
    for tuned in TUNED:
        if given.only in tuned.name:
            for layer in tuned.layers:
                print(line(tuned, layer, target), flush=True)


if __name__ == "__main__":
    main()
