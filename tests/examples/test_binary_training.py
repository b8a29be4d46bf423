"""The example of binary training: its networks, its comparison, and an epoch of its training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compare_networks import FOLDER, arguments, rows
from training_data import load

from ellc.frontends.options import ImportOptions
from ellc.ir.interp import evaluate
from ellc.ir.ops.binary import BinaryConv2D
from ellc.models import ModelOptions, read_model

TRAINING = "ELLC_TRAINING_PYTHON"
REPORT = json.loads((FOLDER / "digits.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_three_networks_side_by_side() -> None:
    found = {row.kind: row for row in rows(arguments([]))}
    assert list(found) == ["float", "8 bits", "binary"]
    for kind in ("float", "binary"):
        assert found[kind].right / found[kind].samples == pytest.approx(
            REPORT[kind]["accuracy"], abs=1.5 / found[kind].samples
        )
    assert found["8 bits"].right >= found["float"].right - 2
    sizes = [row.constant_bytes for row in found.values()]
    assert sizes[0] > 3 * sizes[1] > 3 * sizes[2]


def test_pictures_of_an_npz_file(tmp_path: Path) -> None:
    pictures = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    arrays = {"x_train": pictures, "y_train": np.array([[1], [0]])}
    np.savez(tmp_path / "p.npz", **arrays, x_test=pictures[:1], y_test=np.array([1]))
    training, test = load(tmp_path / "p.npz")
    assert training.planes.shape == (2, 1, 4, 4) and training.labels.tolist() == [1, 0]
    assert test.planes.dtype == np.float32 and test.planes.max() <= 1


@pytest.mark.slow
def test_an_epoch_of_training_and_its_files(tmp_path: Path) -> None:
    python = os.environ.get(TRAINING, "")
    if not python:
        pytest.skip(f"{TRAINING} does not name a Python with the extra `train`")
    words = ("--epochs", "1", "--widths", "8", "48", "48", "-o", str(tmp_path))
    command = (python, str(FOLDER / "train_binary.py"), *words)
    # In that Python, ellc and its dependencies are those of this environment.
    paths = os.pathsep.join([str(FOLDER.parents[1]), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of 360 test pictures") == 2
    options = ModelOptions(ImportOptions(layout="nhwc"))
    x = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    for kind in ("float", "binary"):
        exported = read_model(tmp_path / f"digits_{kind}.onnx", options)
        graphs = (exported, read_model(tmp_path / f"digits_{kind}.ell"))
        onnx, ell = (evaluate(graph, (x,)).outputs[0] for graph in graphs)
        np.testing.assert_allclose(ell, onnx, rtol=1e-4, atol=1e-4)
        signs = [node for node in graphs[1].nodes if isinstance(node.op, BinaryConv2D)]
        assert len(signs) == (2 if kind == "binary" else 0)
