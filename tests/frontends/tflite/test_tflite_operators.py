"""Single operators, compared with TensorFlow Lite's reference kernels; integers are equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tflite_agreement import difference, every_case, imported
from tflite_cases import TfliteCase, stored
from tflite_files import T, options, reference

from ellc.frontends.tflite.checks import operators
from ellc.ir.errors import EllcError

CASES = every_case()
# Cases that the runtime's kernels refuse or compute differently have separate tests below.
BY_HAND = {
    *("BROADCAST_TO", "IF", "LOCAL_RESPONSE_NORMALIZATION", "WHILE"),
    *("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"),
    *("CUSTOM:MaxPoolingWithArgmax2D", "CUSTOM:MaxUnpooling2D"),
    "CUSTOM:Convolution2DTransposeBias",
    *("COMPLEX_ABS", "IMAG", "REAL", "RFFT2D"),
    "CUSTOM:TFLite_Detection_PostProcess",
    *(k for k in operators().handlers if k.startswith(("CUSTOM:Lce", "CUSTOM:Signal"))),
}


def by_kind() -> dict[str, list[TfliteCase]]:
    kinds: dict[str, list[TfliteCase]] = {}
    for case in CASES:
        kinds.setdefault(case.kind, []).append(case)
    return dict(sorted(kinds.items()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", by_kind())
def test_operator_agrees_with_the_reference_kernels(kind: str, tmp_path: Path) -> None:
    wrong = {}
    for case in by_kind()[kind]:
        wanted = reference(case.data(), case.inputs(), case.calls)
        found = imported(case, tmp_path)
        for call, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            for a, b in zip(ours, theirs, strict=True):
                if said := difference(a, b):
                    wrong[f"{case.label}, call {call}"] = said
    assert not wrong


def test_a_stored_sum_of_all_is_that_of_two(tmp_path: Path) -> None:
    """No available runtime has ADD_N of bytes; with two operands it equals ADD."""
    both = (stored("int8", (3, 50)), stored("int8", (3, 50)))
    to = (stored("int8", (3, 50), 0.07, 99),)
    pair = TfliteCase("ADD", "", both, to, options("AddOptions"))
    every = TfliteCase("ADD_N", "", both, to, options("AddNOptions"), given=pair.inputs())
    ((found,),), ((wanted,),) = imported(every, tmp_path), reference(pair.data(), pair.inputs())
    assert not difference(found, wanted)


def test_slopes_of_16_bits_are_refused(tmp_path: Path) -> None:
    """The runtime accepts such slopes, but reads their bytes as 8-bit slopes."""
    x = stored("int16", (4, 5), 0.01)
    slopes = T.of(np.ones(5, np.int16), scale=(0.1,))
    case = TfliteCase("PRELU", "", (x, slopes), (x,))
    with pytest.raises(EllcError) as caught:
        imported(case, tmp_path)
    assert "slopes of type i16" in caught.value.problems[0]


def test_16_bit_squares_of_differences_are_those_of_the_micro_runtime(tmp_path: Path) -> None:
    """No available runtime has them: the difference of both halves, rounded up, is squared."""
    x, y = (np.random.default_rng(n).integers(-32768, 32768, 500, np.int16) for n in (1, 2))
    both = (stored("int16", x.shape, 1e-4), stored("int16", x.shape, 1e-4))
    to = (stored("int16", x.shape, 8e-4),)
    case = TfliteCase("SQUARED_DIFFERENCE", "", both, to, given=(x, y))
    ((found,),) = imported(case, tmp_path)
    scaled = (((x.astype(int) + 1) >> 1) - ((y.astype(int) + 1) >> 1)) ** 2 * (4 * 1e-8 / 8e-4)
    assert np.abs(found - np.clip(scaled, None, 32767)).max() <= 0.501


@pytest.mark.parametrize("kind", ["REDUCE_PROD", "SQUARED_DIFFERENCE"])
def test_what_no_runtime_has_for_uint8_is_said(kind: str, tmp_path: Path) -> None:
    x = stored("uint8", (4, 5))
    second = T.of(np.array([1], np.int32)) if kind == "REDUCE_PROD" else x
    with pytest.raises(EllcError) as caught:
        imported(TfliteCase(kind, "", (x, second), (x,)), tmp_path)
    assert "no runtime supports it for stored integers of type uint8" in caught.value.problems[0]


@pytest.mark.parametrize("kind", ["EQUAL", "NOT_EQUAL"])
def test_stored_16_bit_numbers_of_one_scale_are_equal_or_not(kind: str, tmp_path: Path) -> None:
    """The results of the available runtime are wrong for 16 bits."""
    x, y = np.random.default_rng(3).integers(-2, 3, (2, 4, 50)).astype(np.int16)
    for other in (0.01, 0.02):
        both = (stored("int16", (4, 50), 0.01), stored("int16", (4, 50), other))
        case = TfliteCase(kind, "", both, (T((4, 50), "bool"),), given=(x, y))
        if other == 0.01:
            ((found,),) = imported(case, tmp_path)
            np.testing.assert_array_equal(found, (x == y) == (kind == "EQUAL"))
            continue
        with pytest.raises(EllcError) as caught:
            imported(case, tmp_path)
        assert "16-bit operands with different scales" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("place", "given", "said"),
    [
        (9, T.of(np.ones(11, np.int16), scale=(1e-4,)), "peepholes for 1 of 3 gates"),
        (9, T.of(np.ones(9, np.int16), scale=(1e-4,)), "expected INT16 peepholes"),
        (20, T.of(np.ones(11, np.int16), scale=(1e-4,)), "normalisation for 1 of 4 gates"),
        (20, T.of(np.ones(9, np.int16), scale=(1e-4,)), "expected INT16 norms (11,)"),
        (
            20,
            T.of(np.ones(11, np.int16), scale=(1e6,)),
            "the scale 1000000.0 of the layer norm",
        ),
        (16, T.of(np.ones((9, 11), np.int8), scale=(1.0,)), "expected INT8 weights (11,"),
        (1, None, "only some of its weights"),
        (1, T.of(np.ones((), np.int8), scale=(1.0,)), "expected INT8 weights"),
        (6, T.of(np.ones((), np.int8), scale=(1.0,)), "recurrent weights ()"),
        (6, T.of(np.ones((11, 7), np.int8), scale=(1.0,)), "(11, 7) without a projection"),
        (2, T.of(np.ones((9, 5), np.int8), scale=(1.0,)), "expected INT8 weights"),
        (12, T.of(np.ones(9, np.int32), scale=(1.0,)), "expected INT32 biases"),
        (19, T((2, 11), "int16", variable=True, scale=(0.001,)), "a cell state of scale 0.001"),
        (19, T((2, 11), "int16", variable=True, scale=(2.0**-8,)), "a cell state of scale"),
        (19, T((2, 11), "int8", variable=True, scale=(2.0**-5,)), "cells of INT8"),
    ],
)
def test_what_an_lstm_of_stored_integers_lacks_is_said(
    place: int, given: T | None, said: str, tmp_path: Path
) -> None:
    (case, *_) = (c for c in by_kind()["UNIDIRECTIONAL_SEQUENCE_LSTM"] if c.intermediates)
    changed = replace(case, operands=(*case.operands[:place], given, *case.operands[place + 1 :]))
    for each, want in ((changed, said), (replace(case, intermediates=()), "hidden state")):
        with pytest.raises(EllcError) as caught:
            imported(each, tmp_path)
        assert want in caught.value.problems[0]


def test_every_operator_has_a_case() -> None:
    assert set(operators().handlers) - set(by_kind()) == BY_HAND


def test_a_wrong_result_is_seen() -> None:
    numbers = np.arange(4, dtype=np.float32)
    assert difference(numbers, numbers * np.float32(1.0001))
    assert difference(numbers.astype(np.int8), np.array([0, 1, 2, 4], np.int8))
    assert difference(numbers, numbers[None])
