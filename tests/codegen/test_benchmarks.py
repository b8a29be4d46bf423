"""Test the benchmark script, and lower bounds of kernel speeds on the modelled Cortex-A53."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from parts import quick_part

ROOT = Path(__file__).resolve().parents[2]


def benchmark(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
@pytest.mark.parametrize(
    ("layer", "least"),
    quick_part(
        [
            ("1x1, 64 -> 64, 14x14", 1.9),
            ("binary 3x3, 512 -> 512, 7x7", 28.0),
            ("8-bit 1x1, 128 -> 128, 28x28", 3.7),
            ("8-bit depthwise 3x3, 128, 28x28", 1.2),
        ],
        0,
        2,
    ),
)
def test_modelled_products_a_cycle(layer: str, least: float) -> None:
    done = benchmark("layers", "--only", layer, "--target", "pi3_64", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["layer"] for row in rows} == {layer}
    (row,) = (row for row in rows if row["macs"])
    assert least <= row["macs"] / row["time"] / 1e3 < 42.7
    assert row["time"] > row["macs_bound"], "faster than the core's peak: the cycles are wrong"


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
def test_constants_at_other_values() -> None:
    script = ROOT / "tests" / "benchmarks" / "constants.py"
    done = subprocess.run(
        [sys.executable, str(script), "--only", "_MOST_PRODUCTS"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert "[4: " in first and " 8: " in first


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
def test_several_cores_share_the_memory() -> None:
    layer = ("--only", "8-bit 1x1, 256 -> 256, 14x14", "--target", "pi3_64")
    words = ("--cores", "4", "--mhz", "700")
    one, four = benchmark("layers", *layer, "--json"), benchmark("layers", *layer, *words)
    assert four.returncode == 0, four.stderr
    (row,) = (r for r in json.loads(one.stdout)["rows"] if r["macs"])
    expected = max(row["time"] / 4, row["bytes_bound"] * 700 / 1200) / 700
    assert "On 4 cores at 700 MHz" in four.stdout and f"**{expected:.1f} ms**" in four.stdout
    assert benchmark("layers", "--cores", "4", "--target", "host").returncode == 2


@pytest.mark.slow
def test_times_on_this_machine() -> None:
    done = benchmark("layers", "--only", "14x14", "--limit-ms", "5", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["peak_macs"] > 0 and document["bandwidth"] > 0
    rows = {row["layer"]: row for row in document["rows"]}
    assert len(rows) == len(document["rows"]) and all("14x14" in layer for layer in rows)
    assert all(row["time"] > 0 for row in rows.values())
    assert rows["1x1, 256 -> 256, 14x14"]["time"] > rows["1x1, 64 -> 64, 14x14"]["time"]


@pytest.mark.slow
def test_without_the_cycle_model_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELLC_CYCLE_TOOL", raising=False)
    assert "ELLC_CYCLE_TOOL" not in os.environ
    done = benchmark("layers", "--only", "binary 3x3, 512", "--target", "pi3_64")
    assert done.returncode == 1
    assert "ELLC_CYCLE_TOOL is not set" in done.stderr


@pytest.mark.slow
def test_costs_of_steps_are_those_that_measurements_give() -> None:
    script = ROOT / "tests" / "benchmarks" / "step_costs.py"
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    count, fitted, source = run.stdout.splitlines()
    assert count.startswith("2") and " 8 networks on cortex-a53" in count
    assert fitted.partition(";")[0].split()[1:] == source.partition(";")[0].split()[1:]
