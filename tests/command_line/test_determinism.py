"""Compiling a model in two folders, with different hash seeds, gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from determinism import assert_same_bytes_twice
from small_networks import convolution_network

from ellc.ir.container import save

KINDS = "so,obj,lib,h,c,llvm,asm,py,ell,cmake,demo"


EMITTED = {
    **dict.fromkeys(("host", "pi0", "pi3", "pi3_64"), KINDS),
    "imxrt1050": "obj,lib,h,c,llvm,asm,ell,cmake",
    "windows": "lib,h,ell,cmake,demo",
    "mac": "obj,lib,h",
    "wasm": "so,h",
}
SEVERAL = """
from ellc.cli import run
for line in {lines}:
    assert run(line) == 0, line
"""


@pytest.mark.slow
def test_the_same_bytes_everywhere(tmp_path: Path, ellc_command) -> None:
    """A process compiles for all targets, since starting processes would take most of the time."""
    first, *others = (
        [
            "compile",
            "net.eir",
            "-t",
            name,
            "--emit",
            kinds,
            "-o",
            name,
            "--dump-dir",
            f"dump-{name}",
        ]
        for name, kinds in EMITTED.items()
    )

    def compile_there(folder: Path, hash_seed: str) -> None:
        save(convolution_network(), folder / "net.eir")
        prepared = SEVERAL.format(lines=others)
        done = ellc_command(
            *first, cwd=folder, env={"PYTHONHASHSEED": hash_seed}, prepared=prepared
        )
        assert done.returncode == 0, done.stderr

    files = assert_same_bytes_twice(compile_there, tmp_path)
    for name in EMITTED:
        assert {f"{name}/net.json", f"{name}/net.h", f"dump-{name}/00_input.txt"} <= set(files)
