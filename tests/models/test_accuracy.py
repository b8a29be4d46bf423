"""Run the accuracy script for its quick networks; a user can run it for all networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "accuracy.py"


@pytest.mark.needs_data
@pytest.mark.slow
@pytest.mark.parametrize("only", ["resnet8_cifar10_float", "resnet8_cifar10_int8", "mnist-8"])
def test_compiled_networks_judge_as_their_references_do(only: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--only", only], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("agrees"), done.stdout
