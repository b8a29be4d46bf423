"""The folder of a compilation as the package that programs of Microsoft's ELL import."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_networks import convolution_network, inputs_of, reference_of

from ellc.driver import Artifact, CompileOptions, compile_model

# What ELL's demo does with `--compiledModel FOLDER/NAME`, without the camera.
DEMO = """
import importlib
import os
import sys

folder, name = os.path.split(sys.argv[1])
if not os.path.isdir(os.path.join(folder or ".", "build")):
    sys.exit("you don't have a 'build' directory")
if folder:
    sys.path += [os.getcwd()]
    module = getattr(importlib.import_module(folder), name)
else:
    sys.path += [os.path.join(os.getcwd(), "build"), os.path.join(os.getcwd(), "build", "release")]
    module = importlib.import_module(name)
shape, result = module.get_default_input_shape(), module.get_default_output_shape()
size = int(result.rows * result.columns * result.channels)
scores = module.predict([float(x) for x in sys.argv[2].split(",")])
assert len(scores) == size and (shape.rows, shape.columns, shape.channels) == (9, 11, 3)
for what in ("Model", "Node"):
    if hasattr(module, f"{name}_Print{what}ProfilingInfo"):
        getattr(module, f"{name}_Print{what}ProfilingInfo")()
print(",".join(map(str, scores)))
"""
# What ELL's comparison of two networks does: folders are imported as if they were the modules.
SIDE_BY_SIDE = """
import sys

import model1
import model2

values = [float(x) for x in sys.argv[1].split(",")]
models = [model1, model2]
shapes = [model.get_default_input_shape() for model in models]
assert all(shape.Size() == len(values) for shape in shapes)
predictions = [list(), list()]
for index, model in enumerate(models):
    predictions[index] = model.predict(values)
    taken = model.FloatVector(model.get_default_output_shape().Size())
    model.predict(values, taken)
    assert list(taken) == list(predictions[index])
print(",".join(map(str, predictions[1])))
"""
NETWORK = convolution_network()
INPUTS = inputs_of(NETWORK)
(EXPECTED,) = reference_of(NETWORK, INPUTS)
VALUES = ",".join(map(repr, INPUTS[0].reshape(-1).tolist()))


def made(folder: Path, name: str, *, profile: bool = False) -> Artifact:
    options = CompileOptions(emit=("so", "py", "ell"), threads=1, name=name, profile=profile)
    return compile_model(NETWORK, "host", options, folder)


def run(cwd: Path, program: str, *words: str) -> list[str]:
    (cwd.parent / "programs").mkdir(exist_ok=True)
    script = cwd.parent / "programs" / "demo.py"
    script.write_text(program)
    ran = subprocess.run(
        [sys.executable, "-W", "error", script, *words],
        env={"PYTHONPATH": str(cwd) if "model1" in program else ""},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    *printed, scores = ran.stdout.splitlines()
    got = np.array([float(x) for x in scores.split(",")])
    np.testing.assert_allclose(got, EXPECTED.reshape(-1), rtol=1e-4, atol=1e-5)
    return printed


@pytest.mark.parametrize("profile", [False, True])
def test_the_demo_of_ell_runs_unchanged(profile: bool, tmp_path: Path) -> None:
    artifact = made(tmp_path / "work" / "pi3", "net", profile=profile)
    assert {"__init__.py", "build/net.py"} <= {*artifact.names}
    assert {"__init__.py", "build/net.py"} <= {*artifact.manifest["files"]}  # type: ignore[misc]
    for folder, words in (("work", ("pi3/net", VALUES)), ("work/pi3", ("net", VALUES))):
        printed = run(tmp_path / folder, DEMO, *words)
        assert bool(printed) == profile
        assert all(line.startswith(("Model net", "Node ")) for line in printed)


def test_the_comparison_of_ell_runs_unchanged(tmp_path: Path) -> None:
    for name in ("model1", "model2"):
        made(tmp_path / "work" / name, name)
    run(tmp_path / "work", SIDE_BY_SIDE, VALUES)


def test_a_folder_in_which_cmake_has_built_is_compiled_into_again(tmp_path: Path) -> None:
    made(tmp_path / "out", "net")
    (tmp_path / "out" / "build" / "CMakeCache.txt").write_text("of the user")
    again = made(tmp_path / "out", "net")
    assert (tmp_path / "out" / "build" / "CMakeCache.txt").read_text() == "of the user"
    assert all(path.is_file() for path in again.files)
    shutil.rmtree(tmp_path / "out" / "build")
    assert made(tmp_path / "out", "net").names == again.names
