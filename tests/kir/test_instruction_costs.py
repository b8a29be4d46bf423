"""Costs of instructions: each measured core has all rows, and the tables agree with the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ellc.codegen.kir.instructions import INSTRUCTIONS, SETS
from ellc.codegen.kir.instructions.costs import COSTS
from ellc.codegen.machine.core import Arch, core_names
from ellc.codegen.machine.resolve import Overrides, resolve
from ellc.codegen.machine.target import Target

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "benchmarks" / "instruction_costs.py"
MEASURED = {
    ("cortex-a53", "aarch64"): "neon",
    ("cortex-a53", "arm"): "neon",
    ("cortex-m4", "arm"): "dsp",
    ("cortex-m7", "arm"): "dsp",
    ("cortex-m33", "arm"): "dsp",
    ("znver5", "x86_64"): "x86",
}
"""The instruction set of each core for which costs are known."""


def target_of(core: str, arch: Arch) -> Target:
    boards = {"aarch64": "pi3_64", "arm": "pi3"} if core == "cortex-a53" else {}
    triples = {"arm": "thumbv8m.main-none-eabihf", "x86_64": "x86_64-unknown-linux-gnu"}
    if arch in boards:
        return resolve(boards[arch])
    triple = "thumbv7em-none-eabihf" if core in ("cortex-m4", "cortex-m7") else triples[arch]
    return resolve("custom", Overrides(triple=triple, cpu=core))


@pytest.mark.parametrize(("core", "arch"), MEASURED)
def test_every_row_of_a_measured_core_has_a_cost(core: str, arch: Arch) -> None:
    target = target_of(core, arch)
    rows = [row for row in SETS[MEASURED[core, arch]] if row.available(target)]
    assert rows and {row.name for row in rows} == set(COSTS[core][arch])
    for row in rows:
        cost = row.cost(target)
        assert cost is not None and row.slots(target) == cost.cycles
        assert cost.cycles > 0 and 0.5 <= cost.latency <= 16
        assert (cost.update_latency is not None) == (row.updates is not None), row.name


def test_costs_are_those_of_known_cores_and_rows() -> None:
    assert {(core, arch) for core, states in COSTS.items() for arch in states} == set(MEASURED)
    assert set(COSTS) <= set(core_names())
    names = {name for states in COSTS.values() for found in states.values() for name in found}
    assert names <= set(INSTRUCTIONS) and not any(name.startswith("wasm") for name in names)


def test_a_core_without_a_source_has_no_costs() -> None:
    row = INSTRUCTIONS["neon_smull_8b"]
    assert row.cost(resolve("pi4")) is None and row.slots(resolve("pi4")) == 1.0


def test_the_operand_that_an_instruction_updates() -> None:
    updated = {name: INSTRUCTIONS[name].updates for name in INSTRUCTIONS}
    assert updated["neon_smlal_8b"] == 2 == updated["dsp_smlad"] == updated["dsp_smlald"]
    assert updated["neon_sadalp_16b"] == 0 == updated["neon_tbx3_8b"] == updated["x86_vpdpwssd_512"]
    for name in ("neon_smull_8b", "neon_tbl1_8b", "neon_srshl_4s", "x86_pmaddwd_128", "dsp_smuad"):
        assert updated[name] is None, name


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
def test_costs_are_what_the_model_of_the_core_says() -> None:
    words = [sys.executable, str(SCRIPT), "--core", "cortex-a53", "--only", "neon_smlal_8b"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    in_64_bits, in_32_bits = done.stdout.splitlines()
    written = 'neon_smlal_8b           Cost(1, 4, 1, ("integer", "load"))'
    assert in_64_bits == f"cortex-a53  aarch64  {written}"
    assert in_32_bits == f"cortex-a53  arm      {written}"


def test_without_the_model_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELLC_CORTEXM_TOOL", raising=False)
    words = [sys.executable, str(SCRIPT), "--core", "cortex-m7"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ELLC_CORTEXM_TOOL is not set" in done.stderr
