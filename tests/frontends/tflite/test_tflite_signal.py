"""The signal operators of TensorFlow Lite Micro, over streams, against single numbers in Python.

`signal_reference.py` agrees with that runtime's own build in all of these numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import signal_reference as ref
from tflite_files import T, TFLiteFile, saved, single

from codegen.targets import resolve
from codegen.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ir.errors import EllcError
from ir.graph import Graph
from ir.interp import evaluate
from ir.pipeline import run_pipeline
from ir.types import Array

STEPS = 40
FRAME, LENGTH, CHANNELS = 200, 256, 9
BINS = LENGTH // 2 + 1
START, END = 2, 110  # of the energies
SHIFTS = {"window": 12, "smoothing": 10, "subtraction": 14, "gain": 6, "correction": 3}
SMOOTHING, LEAST, SCALE = (410, 983), 819, 1600


def tables() -> dict[str, Array]:
    """Constants of the front end: a window, triangles, gains."""
    rng = np.random.default_rng(5)
    widths = np.array([0, 2, 3, 5, 0, 8, 12, 17, 25, 30], np.int16)
    starts = (START + np.cumsum(widths) - widths).astype(np.int16)
    weights = rng.integers(-9, 4096, int(widths.sum())).astype(np.int16)
    return {
        "window": (4096 * np.hanning(FRAME)).astype(np.int16),
        "weights": weights,
        "unweights": (4096 - weights).astype(np.int16),
        "frequency starts": starts,
        "weight starts": (starts - START).astype(np.int16),
        "widths": widths,
        "gains": rng.integers(-(2**15), 2**15, 125).astype(np.int16),
    }


def subtraction_options(*, clamping: bool) -> dict[str, object]:
    one = 1 << SHIFTS["subtraction"]
    return {
        "alternate_one_minus_smoothing": one - SMOOTHING[1],
        "alternate_smoothing": SMOOTHING[1],
        "clamping": clamping,
        "min_signal_remaining": LEAST,
        "num_channels": CHANNELS,
        "one_minus_smoothing": one - SMOOTHING[0],
        "smoothing": SMOOTHING[0],
        "smoothing_bits": SHIFTS["smoothing"],
        "spectral_subtraction_bits": SHIFTS["subtraction"],
    }


def front_end(*, clamping: bool) -> bytes:
    """Samples to features; every operator's results are outputs."""
    file, given = TFLiteFile(), tables()
    constant = {name: file.add(T.of(data)) for name, data in given.items()}
    outputs: list[int] = []

    def apply(kind: str, inputs: list[int], options: object, *results: T) -> list[int]:
        made = [file.add(r) for r in results]
        file.apply(f"CUSTOM:Signal{kind}", inputs, made, options)
        outputs.extend(made)
        return made

    x = file.add(T((FRAME,), "int16"))
    shift = {"shift": SHIFTS["window"]}
    (framed,) = apply("Window", [x, constant["window"]], shift, T((FRAME,), "int16"))
    scaled, bits = apply("FftAutoScale", [framed], None, T((FRAME,), "int16"), T((), "int32"))
    chosen = {"T": 7, "fft_length": LENGTH}
    (spectrum,) = apply("Rfft", [scaled], chosen, T((2 * BINS,), "int16"))
    ends = {"end_index": END, "start_index": START}
    (energies,) = apply("Energy", [spectrum], ends, T((BINS,), "uint32"))
    names = ("weights", "unweights", "frequency starts", "weight starts", "widths")
    bank = [energies, *(constant[name] for name in names)]
    (sums,) = apply("FilterBank", bank, {"num_channels": CHANNELS}, T((CHANNELS,), "uint64"))
    whole = T((CHANNELS,), "uint32")
    (roots,) = apply("FilterBankSquareRoot", [sums, bits], None, whole)
    options = subtraction_options(clamping=clamping)
    clean, noise = apply("FilterBankSpectralSubtraction", [roots], options, whole, whole)
    shift = {"snr_shift": SHIFTS["gain"]}
    (steady,) = apply("PCAN", [clean, noise, constant["gains"]], shift, whole)
    options = {"input_correction_bits": SHIFTS["correction"], "output_scale": SCALE}
    apply("FilterBankLog", [steady], options, T((CHANNELS,), "int16"))
    return file.data([x], outputs)


@cache
def samples() -> list[Array]:
    """Sound of every loudness: silence, tones, noise up to the ends."""
    rng = np.random.default_rng(7)
    frames = []
    for step in range(STEPS):
        loudness = 2.0 ** rng.integers(0, 17) if step % 7 else 0.0
        tone = np.sin(np.arange(FRAME) * rng.uniform(0, 3))
        sound = loudness * (tone + 0.3 * rng.standard_normal(FRAME))
        frames.append(np.clip(np.rint(sound), -(2**15), 2**15 - 1).astype(np.int16))
    return frames


@cache
def wanted(*, clamping: bool) -> list[list[list[int]]]:
    """Every operator's results in every step."""
    given = {name: [int(v) for v in data] for name, data in tables().items()}
    names = ("frequency starts", "weight starts", "widths")
    places = list(zip(*(given[name] for name in names), strict=True))
    least, fine, bits = LEAST, SHIFTS["smoothing"], SHIFTS["subtraction"]
    subtraction = ref.Subtraction(SMOOTHING, least, fine, bits, clamping)
    results = []
    for frame in samples():
        framed = ref.window([int(s) for s in frame], given["window"], SHIFTS["window"])
        scaled, room = ref.auto_scale(framed)
        spectrum = ref.FixedFft(16).spectrum(scaled + [0] * (LENGTH - FRAME))
        energies = [0] * START + ref.energy(spectrum[START:END]) + [0] * (BINS - END)
        sums = ref.filter_bank(energies, given["weights"], given["unweights"], places)
        roots = [ref.square_root(total) >> room for total in sums]
        clean = subtraction(roots)
        noise = list(subtraction.noise)
        steady = ref.gain_control(clean, noise, given["gains"], SHIFTS["gain"])
        features = [ref.logarithm(v, SCALE, SHIFTS["correction"]) for v in steady]
        pairs = [number for pair in spectrum for number in pair]
        results.append(
            [framed, scaled, [room], pairs, energies, sums, roots, clean, noise, steady, features]
        )
    return results


def want_equal(found: Sequence[Sequence[Array]], clamping: bool) -> None:
    for step, (ours, theirs) in enumerate(zip(found, wanted(clamping=clamping), strict=True)):
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert mine.ravel().tolist() == other, f"step {step}, output {place}"


def imported(data: bytes, folder: Path) -> Graph:
    return read_tflite(saved(data, folder))


def evaluated(graph: Graph, steps: Sequence[Array]) -> list[tuple[Array, ...]]:
    found, states = [], None
    for frame in steps:
        result = evaluate(graph, (frame,), states=states)
        states = result.states
        found.append(result.outputs)
    return found


@pytest.mark.parametrize("clamping", [False, True])
def test_a_front_end_is_that_of_the_definition(clamping: bool, tmp_path: Path) -> None:
    graph = imported(front_end(clamping=clamping), tmp_path)
    want_equal(evaluated(graph, samples()), clamping)


def transform(dtype: str, length: int, given: int) -> bytes:
    """Two rows of samples to their spectra."""
    x, y = T((2, given), dtype), T((2, length + 2), dtype)
    return single("CUSTOM:SignalRfft", (x,), (y,), {"T": 0, "fft_length": length})


@pytest.mark.parametrize(("length", "given"), [(4, 4), (8, 5), (512, 480), (1024, 1024)])
def test_transforms_of_32_bits_and_of_floats(length: int, given: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(length)
    whole = rng.integers(-(2**31), 2**31, (2, given), np.int64).astype(np.int32)
    (found,) = evaluate(imported(transform("int32", length, given), tmp_path), (whole,)).outputs
    for row, ours in zip(whole.tolist(), found.tolist(), strict=True):
        pairs = ref.FixedFft(32).spectrum(row + [0] * (length - given))
        assert ours == [number for pair in pairs for number in pair]
    x = rng.standard_normal((2, given)).astype(np.float32)
    (found,) = evaluate(imported(transform("float32", length, given), tmp_path), (x,)).outputs
    spectrum = np.fft.rfft(x.astype(np.float64), length)
    wanted = np.stack((spectrum.real, spectrum.imag), -1).reshape(2, -1)
    np.testing.assert_allclose(found, wanted, atol=2e-6 * length)


@pytest.mark.parametrize("length", [2, 6, 480, 1 << 17])
def test_other_lengths_are_declined(length: int, tmp_path: Path) -> None:
    with pytest.raises(EllcError, match=f"a transform of length {length} of 2 samples"):
        imported(transform("int16", length, 2), tmp_path)


@pytest.mark.slow
def test_compiled_front_ends_are_those_of_the_definition(tmp_path: Path) -> None:
    every = [False, True]
    graphs = [
        run_pipeline(imported(front_end(clamping=clamping), tmp_path))[0] for clamping in every
    ]
    trials = [Trial(graph, tuple((frame,) for frame in samples())) for graph in graphs]
    for target in ("host", "pi0"):
        for found, clamping in zip(run_trials(trials, resolve(target)), every, strict=True):
            assert not isinstance(found, Exception), found
            want_equal(found, clamping)
