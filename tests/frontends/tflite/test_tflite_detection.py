"""`TFLite_Detection_PostProcess`, the end of SSD detectors, compared with the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from flatbuffers import flexbuffers
from tflite_files import T, TFLiteFile, reference, saved, single

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.custom import custom_options
from ellc.frontends.tflite.model import NO_OPTIONS
from ellc.frontends.tflite.read import read_tflite
from ellc.frontends.tflite.tables import EntryBudget
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array
from ellc.ir.verify import verify

KIND = "CUSTOM:TFLite_Detection_PostProcess"
CHOSEN: dict[str, object] = {
    "max_detections": 10,
    "max_classes_per_detection": 1,
    "num_classes": 3,
    "nms_score_threshold": 0.3,
    "nms_iou_threshold": 0.4,
    "use_regular_nms": False,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}
# label, options that differ, boxes, columns of scores
CASES: list[tuple[str, dict[str, object], int, int]] = [
    ("fast", {}, 60, 4),
    ("no background", {}, 60, 3),
    ("classes of each", {"max_classes_per_detection": 2}, 60, 4),
    ("more classes than there are", {"max_classes_per_detection": 5}, 60, 4),
    ("regular", {"use_regular_nms": True}, 60, 4),
    ("regular, few of a class", {"use_regular_nms": True, "detections_per_class": 2}, 60, 4),
    ("nothing", {"nms_score_threshold": 2.0}, 60, 4),
    ("nothing, regular", {"nms_score_threshold": 2.0, "use_regular_nms": True}, 60, 4),
    ("more than boxes", {"max_detections": 20}, 7, 4),
    ("more than boxes, regular", {"max_detections": 50, "use_regular_nms": True}, 7, 4),
    ("every overlap", {"nms_iou_threshold": 1.0, "max_detections": 60}, 60, 4),
]


def _anchors(rng: np.random.Generator, boxes: int) -> Array:
    return np.concatenate(
        (rng.uniform(0.2, 0.8, (boxes, 2)), rng.uniform(0.1, 0.4, (boxes, 2))), 1
    ).astype(np.float32)


def detector(
    options: dict[str, object], boxes: int, columns: int, *, stored: bool
) -> tuple[bytes, list[Array]]:
    """A file with only this operator, and operands whose scores are all different."""
    rng = np.random.default_rng(boxes + columns)
    anchors = _anchors(rng, boxes)
    if stored:
        operands = (
            T((1, boxes, 4), "uint8", scale=(0.1,), zero=(130,)),
            T((1, boxes, columns), "uint8", scale=(1 / 256,), zero=(0,)),
            T.of(np.round(anchors * 200).astype(np.uint8), scale=(1 / 200,), zero=(0,)),
        )
        codes = rng.integers(100, 160, (1, boxes, 4)).astype(np.uint8)
        order = rng.permutation(boxes * columns) * 255 // (boxes * columns)
        given = [codes, order.astype(np.uint8)]
    else:
        operands = (T((1, boxes, 6)), T((1, boxes, columns)), T.of(anchors))
        given = [rng.normal(0, 2, (1, boxes, 6)).astype(np.float32)]
        given.append(rng.permutation(boxes * columns).astype(np.float32) / (boxes * columns))
    given[1] = given[1].reshape(1, boxes, columns)
    total = int(str(options["max_detections"])) * int(str(options["max_classes_per_detection"]))
    results = (T((1, total, 4)), T((1, total)), T((1, total)), T((1,)))
    return single(KIND, operands, results, options), given


@pytest.mark.parametrize("stored", [False, True], ids=["floats", "bytes"])
@pytest.mark.parametrize(("label", "changed", "boxes", "columns"), CASES, ids=[c[0] for c in CASES])
def test_detections_are_the_runtimes(
    label: str,
    changed: dict[str, object],
    boxes: int,
    columns: int,
    stored: bool,
    tmp_path: Path,
) -> None:
    options = {**CHOSEN, **changed}
    data, given = detector(options, boxes, columns, stored=stored)
    graph = read_tflite(saved(data, tmp_path))
    verify(graph)
    found = evaluate(graph, tuple(given)).outputs
    (wanted,) = reference(data, given)
    _want_same(options, "nothing" in label, found, wanted)
    assert len(graph.nodes) < 60, "there are nodes for every box"


def _want_same(
    options: dict[str, object], is_empty: bool, found: Sequence[Array], wanted: Sequence[Array]
) -> None:
    assert [x.shape for x in found] == [x.shape for x in wanted]
    assert found[3] == wanted[3]
    assert is_empty == (found[3] == 0)
    # The runtime does not write rows beyond the detections.
    kinds = int(str(options["max_classes_per_detection"]))
    place = np.arange(found[1].size)
    real = (place < int(found[3][0]) * kinds) & (place % kinds < 3)
    for ours, theirs in zip(found[:3], wanted[:3], strict=True):
        np.testing.assert_allclose(ours[0][real], theirs[0][real], rtol=2e-6, atol=1e-6)
        assert not ours[0][~real].any()


@pytest.mark.slow
def test_compiled_detections_are_the_runtimes(tmp_path: Path) -> None:
    """One program has both kinds of suppression, with floats and with bytes."""
    cases = []
    for label, changed, boxes, columns in CASES[2:6:2]:
        for stored in (False, True):
            options = {**CHOSEN, **changed}
            data, given = detector(options, boxes, columns, stored=stored)
            graph, _ = run_pipeline(read_tflite(saved(data, tmp_path)))
            cases.append((options, data, given, Trial(graph, (tuple(given),))))
            assert "nothing" not in label
    results = run_trials([trial for *_, trial in cases], resolve("host"))
    for (options, data, given, _), found in zip(cases, results, strict=True):
        assert not isinstance(found, Exception), found
        _want_same(options, False, found[0], reference(data, given)[0])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"max_detections": 0}, "max_detections is 0"),
        (
            {"max_detections": 1 << 30},
            f"max_detections is {1 << 30}, max_classes_per_detection is 1",
        ),
        ({"num_classes": 1}, "scores of 4 columns, but num_classes is 1"),
        ({"nms_iou_threshold": 0.0}, "nms_iou_threshold is 0.0; it must be above 0"),
        ({"y_scale": 0.0}, "scales of boxes are [0.0,"),
        ({"soft_nms": True}, "its option soft_nms = True is not supported"),
    ],
)
def test_odd_options_of_detections_are_said(
    changed: dict[str, object], said: str, tmp_path: Path
) -> None:
    file = TFLiteFile()
    anchors = T.of(np.ones((6, 4), np.float32))
    places = [file.add(t) for t in (T((1, 6, 4)), T((1, 6, 4)), anchors, T(), T(), T(), T())]
    file.apply(KIND, places[:3], places[3:], {**CHOSEN, **changed})
    data = file.data(places[:2], places[3:])
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(data, tmp_path))
    assert said in caught.value.problems[0]


def test_options_of_custom_operators_are_read_in_bounds() -> None:
    """Truncated or changed bytes are valid options, or give an error about options."""
    whole = {"a": 3, "b": -2.5, "c": True, "d": "text", "e": [1, 2, 300], "f": {"g": 1}}
    raw = bytes(flexbuffers.Dumps(whole))
    read = custom_options(raw, EntryBudget(100)).values
    assert dict(read) == {"a": 3, "b": -2.5, "c": True, "d": "text", "e": (1, 2, 300)}
    rng = np.random.default_rng(0)
    for length in range(len(raw)):
        custom_options(raw[:length], EntryBudget(1000))
    for _ in range(3000):
        changed = bytearray(raw)
        for place in rng.integers(0, len(raw), 2):
            changed[place] = rng.integers(0, 256)
        custom_options(bytes(changed), EntryBudget(100_000))
    many = flexbuffers.Dumps({f"k{i}": i for i in range(300)})
    assert custom_options(bytes(many), EntryBudget(1000)) == NO_OPTIONS
