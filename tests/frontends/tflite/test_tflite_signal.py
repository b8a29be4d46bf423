"""The signal operators of TensorFlow Lite Micro on streams, against a reference in Python.

`signal_reference.py` agrees with a build of that runtime in all of these numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import signal_reference as ref
from tflite_files import T, TFLiteFile, saved, single

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

STEPS = 40
FRAME, LENGTH, CHANNELS = 200, 256, 9
BINS = LENGTH // 2 + 1
START, END = 2, 110  # the range of the energies
SHIFTS = {"window": 12, "smoothing": 10, "subtraction": 14, "gain": 6, "correction": 3}
SMOOTHING, LEAST, SCALE = (410, 983), 819, 1600


def tables() -> dict[str, Array]:
    """The constants of the front end: a window, triangular filters, gains."""
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
    """The operators from samples to features; the results of every operator are outputs."""
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
    """Sounds of different loudness: silence, tones, and noise up to full scale."""
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
    """The results of every operator in every step."""
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


# --- streams -------------------------------------------------------------------------------------

SAMPLES, SIZES = 480, ((400, 160, False), (200, 120, True), (480, 480, False), (1000, 480, False))
DELAYS = (0, 7, 480, 700)
STACKS = ((0, 0, 1), (1, 1, 2), (3, 0, 4), (0, 2, 3), (2, 4, 1))
BANDS = 5


def streams() -> bytes:
    """All operators with states, on two rows of samples and one frame."""
    file, outputs = TFLiteFile(), list[int]()
    x, frame = file.add(T((2, SAMPLES), "int16")), file.add(T((BANDS,), "int16"))

    def apply(kind: str, given: int, options: object, *results: T) -> None:
        made = [file.add(r) for r in results]
        file.apply(f"CUSTOM:Signal{kind}", [given], made, options)
        outputs.extend(made)

    for size, step, prefill in SIZES:
        chosen = {"frame_size": size, "frame_step": step, "prefill": prefill}
        frames = T((2, SAMPLES // step, size), "int16")
        apply("Framer", x, chosen, frames, T((), "bool"))
        whole = T((2, SAMPLES), "int16")
        apply("OverlapAdd", outputs[-2], {"T": 7, "frame_step": step}, whole)
    for length in DELAYS:
        apply("Delay", x, {"delay_length": length}, T((2, SAMPLES), "int16"))
    for left, right, step in STACKS:
        chosen = {
            "num_channels": BANDS,
            "stacker_left_context": left,
            "stacker_right_context": right,
            "stacker_step": step,
        }
        stack = T((BANDS * (left + right + 1),), "int16")
        apply("Stacker", frame, chosen, stack, T((), "bool"))
    return file.data([x, frame], outputs)


@cache
def stream_inputs() -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(8)
    shapes = ((2, SAMPLES), (BANDS,))
    return [
        tuple(rng.integers(-(2**15), 2**15, shape).astype(np.int16) for shape in shapes)
        for _ in range(9)
    ]


@cache
def wanted_streams() -> list[list[list[int]]]:
    """The results of every operator in every call."""
    framers = [[ref.Framer(*given) for _ in range(2)] for given in SIZES]
    adders = [[ref.OverlapAdd(step) for _ in range(2)] for _, step, _ in SIZES]
    delays = [[ref.Delay(length) for _ in range(2)] for length in DELAYS]
    stackers = [ref.Stacker(*given) for given in STACKS]
    results = []
    for x, frame in stream_inputs():
        rows, outputs = x.tolist(), list[list[int]]()
        for (size, _, _), pair, two in zip(SIZES, framers, adders, strict=True):
            made = [framer(row) for framer, row in zip(pair, rows, strict=True)]
            outputs += [made[0][0] + made[1][0], [made[0][1]]]
            split = [[m[i : i + size] for i in range(0, len(m), size)] for m, _ in made]
            outputs.append([v for add, m in zip(two, split, strict=True) for v in add(m)])
        for later in delays:
            outputs.append([v for one, row in zip(later, rows, strict=True) for v in one(row)])
        for stacker in stackers:
            stack, is_valid = stacker(frame.tolist())
            outputs += [stack, [is_valid]]
        results.append(outputs)
    return results


def want_equal(
    found: Sequence[Sequence[Array]], everything: Sequence[Sequence[Sequence[int]]]
) -> None:
    for step, (ours, theirs) in enumerate(zip(found, everything, strict=True)):
        for place, (actual, other) in enumerate(zip(ours, theirs, strict=True)):
            assert actual.ravel().tolist() == other, f"step {step}, output {place}"


def imported(data: bytes, folder: Path) -> Graph:
    return read_tflite(saved(data, folder))


def evaluated(graph: Graph, steps: Sequence[tuple[Array, ...]]) -> list[tuple[Array, ...]]:
    found, states = [], None
    for given in steps:
        result = evaluate(graph, given, states=states)
        states = result.states
        found.append(result.outputs)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("clamping", [False, True])
def test_a_front_end_is_that_of_the_definition(clamping: bool, tmp_path: Path) -> None:
    graph = imported(front_end(clamping=clamping), tmp_path)
    want_equal(evaluated(graph, [(frame,) for frame in samples()]), wanted(clamping=clamping))


def test_streams_are_those_of_the_definition(tmp_path: Path) -> None:
    graph = imported(streams(), tmp_path)
    want_equal(evaluated(graph, stream_inputs()), wanted_streams())


def test_overlapping_floats_add_up(tmp_path: Path) -> None:
    """A state holds the rest of previous frames."""
    x, y = T((2, 3, 10), "float32"), T((2, 12), "float32")
    data = single("CUSTOM:SignalOverlapAdd", (x,), (y,), {"T": 0, "frame_step": 4})
    calls = [np.random.default_rng(i).standard_normal(x.shape).astype(np.float32) for i in (1, 2)]
    whole = np.zeros((2, 12 * 2 + 6))
    for i, frame in enumerate(np.concatenate(calls, 1).swapaxes(0, 1)):
        whole[:, 4 * i : 4 * i + 10] += frame
    found = evaluated(imported(data, tmp_path), [(call,) for call in calls])
    ours = np.concatenate([outputs for (outputs,) in found], 1)
    np.testing.assert_allclose(ours, whole[:, :24], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "shape", "to", "options", "said"),
    [
        (
            "Framer",
            (8,),
            (1, 4),
            {"frame_size": 4, "frame_step": 8},
            "frames of size 4 with step 8",
        ),
        (
            "Framer",
            (8,),
            (1, 4),
            {"frame_size": 4, "frame_step": 3},
            "frames of size 4 with step 3",
        ),
        ("Delay", (8,), (8,), {"delay_length": -1}, "keeps -1 samples"),
        ("OverlapAdd", (2, 4), (10,), {"frame_step": 5}, "frames of shape [2, 4] with a step of 5"),
        ("Stacker", (3,), (3,), {"num_channels": 3, "stacker_step": 2}, "num_channels 3"),
    ],
)
def test_what_no_stream_has_is_declined(
    kind: str,
    shape: tuple[int, ...],
    to: tuple[int, ...],
    options: dict[str, int],
    said: str,
    tmp_path: Path,
) -> None:
    results = (T(to, "int16"), *([T((), "bool")] if kind in ("Framer", "Stacker") else []))
    data = single(f"CUSTOM:Signal{kind}", (T(shape, "int16"),), results, options)
    with pytest.raises(EllcError) as caught:
        imported(data, tmp_path)
    assert said in caught.value.problems[0]


def transform(dtype: str, length: int, given: int) -> bytes:
    """A transform of two rows of samples to their spectra."""
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


def inverse(dtype: str, length: int) -> bytes:
    """A transform of two rows of spectra to their samples."""
    x, y = T((2, length + 2), dtype), T((2, length), dtype)
    return single("CUSTOM:SignalIrfft", (x,), (y,), {"T": 0, "fft_length": length})


@pytest.mark.parametrize("length", [4, 8, 256, 512])
def test_signals_of_spectra(length: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(length)
    for bits in (16, 32):
        dtype = f"int{bits}"
        end = 2 ** (bits - 1)
        whole = rng.integers(-end, end, (2, length + 2), np.int64).astype(dtype)
        whole[1] //= 64
        (found,) = evaluate(imported(inverse(dtype, length), tmp_path), (whole,)).outputs
        for row, ours in zip(whole.tolist(), found.tolist(), strict=True):
            assert ours == ref.FixedFft(bits).signal(list(zip(row[::2], row[1::2], strict=True)))
    x = rng.standard_normal((2, length + 2)).astype(np.float32)
    (found,) = evaluate(imported(inverse("float32", length), tmp_path), (x,)).outputs
    pairs = x.astype(np.float64).reshape(2, -1, 2)
    wanted = np.fft.irfft(pairs[..., 0] + 1j * pairs[..., 1], length)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(("length", "given"), [(6, 8), (8, 8), (2, 4)])
def test_other_spectra_are_declined(length: int, given: int, tmp_path: Path) -> None:
    x, y = T((2, given), "int16"), T((2, length), "int16")
    data = single("CUSTOM:SignalIrfft", (x,), (y,), {"T": 0, "fft_length": length})
    with pytest.raises(EllcError, match=f"a signal of length {length} from {given // 2} pairs"):
        imported(data, tmp_path)


@pytest.mark.parametrize("length", [2, 6, 480, 1 << 17])
def test_other_lengths_are_declined(length: int, tmp_path: Path) -> None:
    with pytest.raises(EllcError, match=f"fft_length {length} for rows of 2"):
        imported(transform("int16", length, 2), tmp_path)


@pytest.mark.slow
def test_compiled_streams_are_those_of_the_definition(tmp_path: Path) -> None:
    files = [front_end(clamping=False), front_end(clamping=True), streams()]
    everything = [wanted(clamping=False), wanted(clamping=True), wanted_streams()]
    graphs = [run_pipeline(imported(data, tmp_path))[0] for data in files]
    frames = [(frame,) for frame in samples()]
    calls = [frames, frames, stream_inputs()]
    trials = [Trial(graph, tuple(given)) for graph, given in zip(graphs, calls, strict=True)]
    for target in ("host", "pi0"):
        for found, theirs in zip(run_trials(trials, resolve(target)), everything, strict=True):
            assert not isinstance(found, Exception), found
            want_equal(found, theirs)
