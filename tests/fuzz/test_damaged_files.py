"""The quick part of `run.py` for ONNX and TFLite files, and a test that it finds failures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_model_files import small_onnx, small_tflite

HERE = Path(__file__).resolve().parent

BAD_READERS = f"""
import os, sys, time, warnings
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parents[1])!r}]
from pathlib import Path
import trial
from damage import Damaged
trial.CPU_S, trial.WALL_S = 1, 6

def read(path):
    match path.read_bytes():
        case b"good": return "graph"
        case b"raises": raise IndexError("list index out of range")
        case b"warns": warnings.warn("overflow")
        case b"crashes": os.abort()
        case b"spins":
            while True: pass
        case b"waits": time.sleep(60)
        case b"fills": return str(len(bytearray(600 << 20)))
    return "graph"

names = ["good", "raises", "warns", "crashes", "spins", "waits", "fills"]
cases = [Damaged(name, name.encode()) for name in names]
folder = Path(sys.argv[1])
for verdict in sorted(trial.try_all(cases, ".x", read, folder, 2), key=lambda v: v.label):
    print(verdict.label, verdict.failed, verdict.said.split()[-1 if "died" in verdict.said else 0])
"""


@pytest.mark.slow
def test_the_trial_sees_every_way_to_fail(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BAD_READERS, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "crashes True SIGABRT",
        "fills True MemoryError:",
        "good False graph",
        "raises True IndexError:",
        "spins True SIGXCPU",
        "waits True SIGALRM",
        "warns True UserWarning:",
    ]


def fuzz(*words: str | Path) -> None:
    command = [sys.executable, str(HERE / "run.py"), "--quick", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_small_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"small{suffix}"
    path.write_bytes(small_onnx() if suffix == ".onnx" else small_tflite())
    fuzz(path, "--jobs", "1")


@pytest.mark.needs_data
@pytest.mark.slow
def test_real_files() -> None:
    fuzz("--jobs", str(min(2, os.cpu_count() or 1)))
