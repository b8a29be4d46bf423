"""Resizing, compared with TensorFlow Lite's reference kernels and ONNX's evaluator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.builder import GraphBuilder
from ellc.ir.ops.resize import Resize
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, type_of

SIZES = [((5, 7), (9, 4)), ((3, 3), (7, 11)), ((1, 1), (4, 5)), ((7, 41), (49, 123))]
TFLITE = [("align_corners", True, False), ("half_pixel", False, True), ("asymmetric", False, False)]


def drawn(dtype: str, *shape: int) -> Array:
    rng = np.random.default_rng(3)
    if dtype == "float32":
        return rng.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def tflite(x: Array, sizes: tuple[int, int], linear: bool, align: bool, half: bool) -> Array:
    pytest.importorskip("ai_edge_litert")
    from tflite_files import T, options, reference, single

    quant = {} if x.dtype.kind == "f" else {"scale": (0.5,), "zero": (0,)}
    name = "ResizeBilinear" if linear else "ResizeNearestNeighbor"
    chosen = options(f"{name}Options", alignCorners=align, halfPixelCenters=half)
    file = single(
        "RESIZE_BILINEAR" if linear else "RESIZE_NEAREST_NEIGHBOR",
        [T(x.shape, x.dtype.name, **quant), T.of(np.array(sizes, np.int32))],
        [T((1, *sizes, x.shape[3]), x.dtype.name, **quant)],
        chosen,
    )
    ((result,),) = reference(file, [x])
    return result


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
@pytest.mark.parametrize(("coordinates", "align", "half"), TFLITE)
def test_tflite_s_kernels_give_the_same(
    dtype: str, coordinates: str, align: bool, half: bool
) -> None:
    for shape, sizes in SIZES:
        x = drawn(dtype, 1, *shape, 2)
        whole = (1, *sizes, 2)
        (got,) = Resize(whole, "linear", coordinates).reference(x)
        want = tflite(x, sizes, True, align, half)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 if dtype == "float32" else 0)
        nearest = "tf_half_pixel_for_nn" if half else coordinates
        rounding = "round_prefer_ceil" if align else "floor"
        (got,) = Resize(whole, "nearest", nearest, rounding=rounding).reference(x)
        np.testing.assert_array_equal(got, tflite(x, sizes, False, align, half))


def test_passes_leave_interpolated_bytes_exact() -> None:
    cases = [
        (Resize((1, 49, 123, 5), "linear", coordinates), drawn(dtype, 1, 7, 41, 5))
        for dtype in ("int8", "uint8", "int16")
        for coordinates, _, _ in TFLITE
    ]
    trials = []
    for index, (op, x) in enumerate(cases):
        builder = GraphBuilder(f"resize{index}")
        builder.output("y", builder.add(op, builder.input("x", type_of(x))))
        trials.append(Trial(run_pipeline(builder.build())[0], ((x,),)))
    for (op, x), found in zip(cases, run_trials(trials, resolve("host")), strict=True):
        assert not isinstance(found, Exception), found
        np.testing.assert_array_equal(found[0][0], op.reference(x)[0])


ONNX_MODES = [
    ("nearest", {"nearest_mode": "round_prefer_floor"}),
    ("nearest", {"nearest_mode": "floor"}),
    ("linear", {}),
    ("linear", {"antialias": 1}),
    ("cubic", {}),
    ("cubic", {"exclude_outside": 1, "cubic_coeff_a": -0.5}),
    ("cubic", {"antialias": 1}),
]


@pytest.mark.parametrize(("mode", "settings"), ONNX_MODES)
def test_onnx_s_reference_gives_the_same(mode: str, settings: dict[str, str | int]) -> None:
    helper = pytest.importorskip("onnx.helper")
    from onnx.reference import ReferenceEvaluator

    names = [
        *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"),
        *("align_corners", "asymmetric", "tf_crop_and_resize"),
    ]
    # Ratios whose multiples are never halfway between two elements.
    for coordinates, scales in itertools.product(names, [(1.37, 0.61), (2.31, 3.07)]):
        if coordinates == "tf_crop_and_resize" and "antialias" in settings:
            continue
        x = drawn("float32", 1, 2, 6, 9)
        ratios = np.array([1, 1, *scales], np.float32)
        sizes = tuple(int(np.floor(e * s)) for e, s in zip(x.shape, ratios, strict=True))
        if coordinates in ("align_corners", "tf_crop_and_resize"):
            # Formulas of the evaluator use extent x scale, those of onnxruntime the result's size.
            ratios = np.array(sizes, np.float32) / np.array(x.shape, np.float32)
        roi = np.array([0, 0, 0.13, -0.2, 1, 1, 0.81, 1.17], np.float32)
        node = helper.make_node(
            "Resize",
            ["x", "roi", "", "sizes"],
            ["y"],
            mode=mode,
            coordinate_transformation_mode=coordinates,
            extrapolation_value=-3.0,
            **settings,
        )
        given = {"sizes": np.array(sizes)}
        if ratios[2] == np.float32(scales[0]):
            node.input[2:], given = ["scales"], {"scales": ratios}
        want = ReferenceEvaluator(node, opsets={"": 19}).run(None, {"x": x, "roi": roi, **given})[0]
        op = Resize(
            sizes,
            mode,
            coordinates,
            tuple(float(s) for s in ratios),
            rounding=str(settings.get("nearest_mode", "round_prefer_floor")),
            cubic=float(settings.get("cubic_coeff_a", -0.75)),
            exclude_outside="exclude_outside" in settings,
            antialias="antialias" in settings,
            roi=tuple(map(float, roi)) if coordinates == "tf_crop_and_resize" else (),
            extrapolation=-3.0,
        )
        np.testing.assert_allclose(op.reference(x)[0], want, rtol=1e-4, atol=1e-4)
