"""The keyword spotter: its features equal those in training, and it recognises words."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from digit_clips import Program
from features import HOP, RATE, Stream, features
from keyword_spotter import Spotter
from numpy.testing import assert_allclose, assert_array_equal
from scipy.fft import dct
from scipy.signal import stft
from sound import wav_samples
from whistles import LABELS, SAID, main, save_wav

from ellc.driver import CompileOptions, compile_model

NETWORK = "keyword_spotter/keyword_spotter.py"
PIECES = RATE // HOP


@pytest.fixture(scope="module")
def whistles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recording, and the compiled network in the subfolder `network`."""
    folder = tmp_path_factory.mktemp("whistles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["whistles.py", str(folder)])
        main()
    labels = tuple((folder / "labels.txt").read_text().split())
    assert labels == LABELS
    options = CompileOptions(labels=labels)
    compile_model(folder / "whistles.onnx", "host", options, folder / "network")
    return folder


def tones(seed: int) -> np.ndarray:
    """One second of a few tones and noise, as 16-bit integers."""
    random = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    sound = random.normal(size=RATE) * 0.01
    for hertz in random.uniform(50, 5000, 6):
        sound += random.uniform(0.05, 0.15) * np.sin(2 * np.pi * hertz * time) * (time > 0.2)
    return np.rint(sound * 32000).astype("<i2")


# ---- features -----------------------------------------------------------------------------------


def by_scipy(samples: np.ndarray) -> np.ndarray:
    """The MFCC, computed step by step as documented, with scipy's transforms."""
    sound = samples / samples.max()
    options = {"noverlap": 160, "nfft": 512, "boundary": None, "padded": False}
    _, _, lines = stft(sound, window="hann", nperseg=480, **options)
    spectrum = np.abs(lines[:, :49].T) * 240  # scipy divides the spectrum by the window's sum

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    edges = [mel(20) + i * (mel(4000) - mel(20)) / 41 for i in range(42)]
    bands = np.zeros((257, 40))
    for line in range(257):
        at = mel(line * 16000 / 512)
        for band, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
            if low < at < high:
                rising, falling = (at - low) / (middle - low), (high - at) / (high - middle)
                bands[line, band] = min(rising, falling)
    return dct(np.log(spectrum @ bands + 1e-6), type=2, norm=None)[:, :10] / np.sqrt(80)


@pytest.mark.parametrize("seed", range(3))
def test_features_are_the_documented_ones(seed: int) -> None:
    samples = tones(seed)
    assert_allclose(features(samples), by_scipy(samples), atol=2e-4)


def test_a_stream_gives_the_features_of_each_second() -> None:
    sound = np.concatenate([tones(1) // 3, tones(2)])
    stream = Stream()
    given = [stream.add(sound[i : i + HOP]) for i in range(0, len(sound), HOP)]
    assert all(heard is None for heard in given[: PIECES - 1])
    for end in (PIECES, PIECES + 7, 2 * PIECES):
        last = sound[end * HOP - RATE : end * HOP]
        assert_allclose(given[end - 1], features(last), atol=1e-4)


def test_silence_and_less_than_a_second_have_features() -> None:
    assert np.isfinite(features(np.zeros(RATE))).all()
    short = tones(4)[:6000]
    assert_array_equal(features(short), features(np.concatenate([short, np.zeros(RATE - 6000)])))


@pytest.mark.needs_data
@pytest.mark.parametrize("word", ["yes", "silence"])
def test_features_of_recordings_are_those_of_the_benchmark(word: str, test_data: Path) -> None:
    heard = features(wav_samples(test_data / "images" / f"{word}_1000ms.wav"))
    at = ("yes", "silence").index(word)
    stored = np.load(test_data / "models" / "mlperf_kws_dscnn_float.tflite.npz")["input"]
    assert_allclose(heard, stored[at].reshape(49, 10), atol=1e-4)


# ---- networks -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.needs_data
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_the_benchmarks_network_hears_a_word(
    kind: str, test_data: Path, python_program: Program, tmp_path: Path
) -> None:
    model = test_data / "models" / f"mlperf_kws_dscnn_{kind}.tflite"
    labels = test_data / "labels" / "speech_commands12.txt"
    names = tuple(labels.read_text().split())
    compile_model(model, "host", CompileOptions(name="kws", labels=names), tmp_path / "net")
    spotter, stored = Spotter(tmp_path / "net"), np.load(f"{model}.npz")
    sounds = [
        wav_samples(test_data / "images" / f"{w}_1000ms.wav") for w in ("silence", "yes", "silence")
    ]
    wanted = stored["output0_float" if kind == "int8" else "output0"][0, 0]
    # The stored outputs come from a runtime that rounds activations to 8 bits.
    assert_allclose(spotter.scores(features(sounds[1])), wanted, atol=0.02)
    save_wav(np.concatenate(sounds).astype("<i2"), tmp_path / "talk.wav")
    ran = python_program(NETWORK, tmp_path / "net", "--wav", tmp_path / "talk.wav")
    *words, last = ran.stdout.splitlines()
    assert [line.split()[2] for line in words] == ["Yes"], ran.stdout + ran.stderr
    assert 1 < float(words[0].split()[0]) < 2.5 and last == "1 words"


def check(output: str) -> None:
    """Assert that all whistles of the recording are printed, with plausible times."""
    *words, last = output.splitlines()
    assert last == f"{len(SAID)} words"
    assert tuple(line.split()[2] for line in words) == SAID
    for i, line in enumerate(words):
        assert 1.4 + 2 * i < float(line.split()[0]) < 2.6 + 2 * i


@pytest.mark.slow
def test_whistles_are_heard(whistles: Path, python_program: Program) -> None:
    recording = whistles / "whistles.wav"
    check(python_program(NETWORK, whistles / "network", "--wav", recording).stdout)
    few = python_program(
        *(NETWORK, whistles / "network", "--wav", recording, "--ignore", "Silence,rising")
    )
    assert few.stdout.splitlines()[-1] == "2 words"
    all_ = python_program(NETWORK, whistles / "network", "--wav", recording, "--scores")
    assert all_.stdout.count("Silence") > 40


SOUNDDEVICE = """
import wave
class PortAudioError(Exception): pass
class RawInputStream:
    def __init__(self, rate, blocksize, device, channels, dtype):
        assert (rate, blocksize, channels, dtype) == (16000, 320, 1, "int16")
        if device == 7: raise PortAudioError("Error querying device 7")
        self.file = wave.open("whistles.wav")
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def read(self, count):
        data = self.file.readframes(count)
        if not data: raise KeyboardInterrupt
        return data, False
"""


@pytest.mark.slow
def test_a_microphone_by_a_package(whistles: Path, python_program: Program, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(SOUNDDEVICE)
    (tmp_path / "whistles.wav").symlink_to(whistles / "whistles.wav")
    env = {"PYTHONPATH": str(tmp_path)}
    ran = python_program(NETWORK, whistles / "network", env=env)
    check("\n".join(line for line in ran.stdout.splitlines() if line))
    wrong = python_program(NETWORK, whistles / "network", "--microphone", "7", env=env)
    assert wrong.stderr == "microphone: Error querying device 7\n"


@pytest.mark.slow
def test_a_microphone_by_a_program(whistles: Path, python_program: Program, tmp_path: Path) -> None:
    with wave.open(str(whistles / "whistles.wav")) as opened:
        (tmp_path / "raw").write_bytes(opened.readframes(opened.getnframes()))
    recorder = tmp_path / "arecord"
    recorder.write_text(
        "#!/bin/sh\n"
        '[ "$*" = "-q -t raw -f S16_LE -r 16000 -c 1 -D hw:1" ] || exit 1\n'
        f"cat '{tmp_path}/raw'\necho unplugged >&2\n"
    )
    recorder.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ran = python_program(NETWORK, whistles / "network", "--microphone", "hw:1", env=env)
    assert len(ran.stdout.splitlines()) == len(SAID)
    assert ran.stderr == "microphone: no more sound; arecord says: unplugged\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "nowhere: no compiled network; give"),
        (("NETWORK",), "a microphone needs the program arecord"),
        (("NETWORK", "--wav", "nowhere"), "nowhere: not a WAV file that can be read: No such file"),
        (("NETWORK", "--wav", "empty.wav"), "empty.wav: not a WAV file"),
        (("NETWORK", "--wav", "slow.wav"), "8000 samples per second of 16 bits, but 16000"),
        (("NETWORK", "--wav", "short.wav"), "the sound is shorter than a second"),
        (("NETWORK", "--labels", "empty.wav"), "classes of the network: 4, but labels: 0"),
        (("NETWORK", "--labels", "nowhere"), "nowhere: No such file"),
        (("NETWORK", "--smooth", "0"), "--smooth 0.0: 0.1 to 10 seconds"),
        (("other.py", "--wav", "short.wav"), "not a compiled network with one input"),
    ],
)
def test_mistakes_are_said_in_words(
    words: tuple[str, ...], said: str, whistles: Path, python_program: Program, tmp_path: Path
) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "other.py").touch()
    for name, rate, samples in (("slow", 8000, RATE), ("short", RATE, 900)):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as opened:
            opened.setparams((1, 2, rate, 0, "NONE", ""))
            opened.writeframes(bytes(2 * samples))
    network = str(whistles / "network")
    ran = python_program(NETWORK, *(network if w == "NETWORK" else w for w in words))
    assert ran.returncode != 0
    assert said in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "usage: whistles.py FOLDER"), (("file",), "file: File exists")],
)
def test_mistakes_of_the_network_maker(
    words: tuple[str, ...], said: str, python_program: Program, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = python_program("keyword_spotter/whistles.py", *words)
    assert ran.returncode == 1 and ran.stderr == f"{said}\n"


def test_channels_are_averaged(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "two.wav"), "wb") as opened:
        opened.setparams((2, 2, RATE, 0, "NONE", ""))
        opened.writeframes(np.array([[100, 300], [-5, 5]], "<i2").tobytes())
    assert_array_equal(wav_samples(tmp_path / "two.wav"), [200, 0])
