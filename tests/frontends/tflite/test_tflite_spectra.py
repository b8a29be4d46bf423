"""RFFT2D and operators that read its complex result, compared with the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_agreement import difference
from tflite_cases import ints
from tflite_files import T, TFLiteFile, reference, saved

from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate

KINDS = ("COMPLEX_ABS", "REAL", "IMAG")


def spectra(shape: tuple[int, ...], lengths: tuple[int, int], *, is_complex: bool = False) -> bytes:
    """A transform and all operators that can read it; with `is_complex`, also the transform."""
    file, outer = TFLiteFile(), shape[:-2]
    x, length = file.add(T(shape)), file.add(ints(*lengths))
    to = (*outer, lengths[0], lengths[1] // 2 + 1)
    whole = file.add(T(to, "complex64"))
    file.apply("RFFT2D", [x, length], [whole])
    outputs = [file.add(T(to)) for _ in KINDS]
    for kind, output in zip(KINDS, outputs, strict=True):
        file.apply(kind, [whole], [output])
    return file.data([x], [*outputs, *([whole] if is_complex else [])])


@pytest.mark.parametrize(
    ("shape", "length"), [((1, 16), 16), ((3, 1, 50), 64), ((2, 3, 1, 12), 8), ((1, 480), 512)]
)
def test_magnitudes_and_parts_are_those_of_the_runtime(
    shape: tuple[int, ...], length: int, tmp_path: Path
) -> None:
    data = spectra(shape, (1, length))
    x = np.random.default_rng(length).standard_normal(shape).astype(np.float32)
    (wanted,) = reference(data, (x,))
    found = evaluate(read_tflite(saved(data, tmp_path)), (x,)).outputs
    said = {k: difference(a, b) for k, a, b in zip(KINDS, found, wanted, strict=True)}
    assert not any(said.values()), said


def test_a_spectrum_may_be_moved_before_it_is_read(tmp_path: Path) -> None:
    """For `tf.signal.stft`, TensorFlow's converter writes frames as planes of one row."""
    file = TFLiteFile()
    x, length = file.add(T((2, 3, 1, 16))), file.add(ints(1, 16))
    whole, rows = file.add(T((2, 3, 1, 9), "complex64")), file.add(T((2, 3, 9), "complex64"))
    file.apply("RFFT2D", [x, length], [whole])
    file.apply("RESHAPE", [whole, file.add(ints(2, 3, 9))], [rows])
    outputs = [file.add(T((2, 3, 9))) for _ in KINDS]
    for kind, output in zip(KINDS, outputs, strict=True):
        file.apply(kind, [rows], [output])
    data = file.data([x], outputs)
    given = np.random.default_rng(5).standard_normal((2, 3, 1, 16)).astype(np.float32)
    (wanted,) = reference(data, (given,))
    found = evaluate(read_tflite(saved(data, tmp_path)), (given,)).outputs
    assert not any(difference(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize(
    ("shape", "lengths", "said"),
    [
        ((1, 6), (1, 6), "fft_length 6 for rows of 6"),
        ((4, 8), (4, 8), "a transform of lengths (4, 8)"),
        ((1, 8), (2, 8), "a transform over two axes: (2, 8)"),
    ],
)
def test_other_transforms_are_declined(
    shape: tuple[int, ...], lengths: tuple[int, int], said: str, tmp_path: Path
) -> None:
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(spectra(shape, lengths), tmp_path))
    assert said in caught.value.problems[0]


def test_complex_results_are_declined(tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        read_tflite(saved(spectra((1, 8), (1, 8), is_complex=True), tmp_path))
    assert "is of type COMPLEX64" in "; ".join(caught.value.problems)
    assert "magnitudes and parts of an RFFT2D are" in "; ".join(caught.value.problems)
