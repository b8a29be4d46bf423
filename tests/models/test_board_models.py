"""The networks of MLPerf Tiny in 8 bits on emulated microcontrollers: the bits of their runtime.

Their object files need no function of any library.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from real_models import RealModel, disagreement, real_models

from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.driver import CompileOptions, compile_model
from ellc.execute import described_library

MODELS = [
    pytest.param(model, id=str(model))
    for model in real_models()
    if str(model).startswith("mlperf_") and str(model).endswith("_int8.tflite")
] or [pytest.param(None, id="none")]
SAMPLES = 3

pytestmark = [pytest.mark.needs_data, pytest.mark.emulated("qemu-system-arm"), pytest.mark.slow]


@pytest.mark.parametrize("target", ["imxrt1050", "mcxn947"])
@pytest.mark.parametrize("model", MODELS)
def test_network_has_the_expected_outputs(model: RealModel, target: str, tmp_path: Path) -> None:
    options = CompileOptions(emit=("lib", "obj"), name="model")
    compile_model(model.graph(), target, options, tmp_path)
    assert not ElfFile.read(tmp_path / "model.o").undefined
    library = described_library(tmp_path / "libmodel.a")
    samples = list(model.samples())[:SAMPLES]
    made = library.run_in_junk([inputs for inputs, _ in samples])
    pairs = zip(made, (want for _, want in samples), strict=True)
    wrong = [said for got, want in pairs if (said := disagreement(model, got, want))]
    assert not wrong, "\n".join(wrong)


def test_four_networks_are_there() -> None:
    assert len(MODELS) == 4
