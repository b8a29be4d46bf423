"""Compare random resizing with ONNX Runtime. This is not part of the tests.

    python tests/benchmarks/resize_onnx.py [--seed 1] [--count 1500]

Makes random models of `Resize` (operator sets 10 and 19) and `Upsample` with every mode, rule for
coordinates, rounding and policy, and with integer and other scales. Compares the imported graph in
the reference executor with `onnxruntime`, which must be installed. Results have at least one and at
most a million elements. Prints differences and counts; the exit code is 1 if there are differences.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
from onnx_models import computed, model, node  # noqa: E402

from ellc.ir.errors import EllcError  # noqa: E402
from ellc.ir.ops.resize_maps import COORDINATES, ROUNDINGS  # noqa: E402
from ellc.ir.types import Array  # noqa: E402

SCALES = (0.5, 0.75, 1.0, 1.25, 10 / 7, 1.5, 2.0)
POLICIES = ("stretch", "stretch", "not_larger", "not_smaller")
MOST_ELEMENTS = 10**6


@dataclass(frozen=True)
class Drawn:
    """A model: an operator, its input, its further operands and its attributes."""

    operator: str
    opset: int
    x: Array
    operands: dict[str, Array]
    attributes: dict[str, Any]


def drawn(rng: np.random.Generator) -> Drawn | None:
    """A random model; None if its result would have no elements or too many."""
    return _old(rng) if rng.random() < 0.2 else _new(rng)


def _scale(rng: np.random.Generator, extent: int, least: float) -> float:
    """A random scale with which at least one element remains."""
    chosen = float(rng.choice([rng.uniform(0.35, 3.2), *SCALES]))
    return max(chosen, least, 1.0001 / extent)


def _old(rng: np.random.Generator) -> Drawn:
    mode = str(rng.choice(["nearest", "linear"]))
    rank = int(rng.integers(1, 6)) if mode == "nearest" else 4
    first = 0 if mode == "nearest" else 2
    shape = rng.integers(1, 9, rank)
    operator, opset, least = [("Resize", 10, 0.0), ("Upsample", 9, 1.0)][rng.integers(2)]
    scales = [1.0] * first + [_scale(rng, int(e), least) for e in shape[first:]]
    x = rng.standard_normal(shape).astype(np.float32)
    return Drawn(operator, opset, x, {"scales": np.array(scales, np.float32)}, {"mode": mode})


def _new(rng: np.random.Generator) -> Drawn | None:
    mode = str(rng.choice(["nearest", "linear", "cubic"]))
    rank = int(rng.integers(1, 6)) if mode == "nearest" else int(rng.choice([2, 4]))
    axes = list(range(int(rng.integers(rank)) if mode == "nearest" else rank - 2, rank))
    x = rng.standard_normal(rng.integers(1, 11, rank)).astype(np.float32)
    attributes = _attributes(rng, mode)
    operands: dict[str, Array] = {}
    if attributes["coordinate_transformation_mode"] == "tf_crop_and_resize":
        ends = [*rng.uniform(-0.2, 0.4, len(axes)), *rng.uniform(0.6, 1.2, len(axes))]
        operands["roi"] = np.array(ends, np.float32)
        attributes["extrapolation_value"] = -3.0
    extents = [x.shape[a] for a in axes]
    if rng.random() < 0.5:
        scales = [_scale(rng, e, 0.0) for e in extents]
        operands["scales"] = np.array(scales, np.float32)
        return Drawn("Resize", 19, x, operands, attributes | {"axes": axes})
    sizes = rng.integers(1, 20, len(axes))
    operands["sizes"] = sizes
    policy = str(rng.choice(POLICIES))
    ratios = sizes / np.array(extents)
    if policy != "stretch":
        ratios[:] = ratios.min() if policy == "not_larger" else ratios.max()
    if min(ratios * extents) < 0.6 or x.size * prod(ratios) > MOST_ELEMENTS:
        return None
    return Drawn(
        "Resize", 19, x, operands, attributes | {"axes": axes, "keep_aspect_ratio_policy": policy}
    )


def _attributes(rng: np.random.Generator, mode: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": str(rng.choice(COORDINATES)),
    }
    if mode == "nearest":
        return chosen | {"nearest_mode": str(rng.choice(ROUNDINGS))}
    if mode == "cubic":
        chosen["cubic_coeff_a"] = float(rng.choice([-0.5, -0.75]))
    chosen["antialias"] = int(rng.random() < 0.35)
    if mode == "cubic" or chosen["antialias"]:
        chosen["exclude_outside"] = int(rng.random() < 0.4)
    return chosen


def outcome(case: Drawn) -> str:
    """The result for a model: equal, declined by one of the two, or how the results differ."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    slots = ("roi", "scales", "sizes") if case.opset > 10 else ("scales",)
    names = ["x", *(n if n in case.operands else "" for n in slots)]
    made = node(case.operator, names, ["y"], **case.attributes)
    proto = model([made], {"x": case.x}, ["y"], case.operands, opset=case.opset)
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
        (want,) = session.run(None, {"x": case.x})
    except Exception:
        return "declined by onnxruntime"
    try:
        (got,) = computed(proto, {"x": case.x})
    except EllcError as error:
        return f"declined: {error}"
    if got.shape != want.shape:
        return f"{got.shape} for {want.shape}"
    wrong = ~np.isclose(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)
    return f"{int(wrong.sum())} of {wrong.size} elements differ" if wrong.any() else "equal"


def main() -> None:
    """Make and compare random models; print counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1500)
    given = parser.parse_args()
    try:
        import onnxruntime
    except ImportError:
        sys.exit("onnxruntime is not installed: pip install onnxruntime")
    onnxruntime.set_default_logger_severity(4)  # it warns of `tf_half_pixel_for_nn`
    rng = np.random.default_rng(given.seed)
    counts: Counter[str] = Counter()
    while counts.total() < given.count:
        case = drawn(rng)
        if case is None:
            continue
        said = outcome(case)
        known = said if said in ("equal", "declined by onnxruntime") else "different"
        counts[known] += 1
        if known == "different":
            operands = {n: v.tolist() for n, v in case.operands.items()}
            print(case.operator, case.opset, case.x.shape, operands, case.attributes, said)
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    sys.exit(bool(counts["different"]))


if __name__ == "__main__":
    main()
