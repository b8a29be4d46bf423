"""Compiling a model in two folders, with different hash seeds, gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from determinism import assert_same_bytes_twice
from small_networks import convolution_network

from ellc.ir.container import save

KINDS = "so,obj,lib,h,c,llvm,asm,py,ell,cmake,demo"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        ("host", KINDS),
        ("pi0", KINDS),
        ("pi3", KINDS),
        ("pi3_64", KINDS),
        ("imxrt1050", "obj,lib,h,c,llvm,asm,ell,cmake"),
        ("windows", "lib,h,ell,cmake,demo"),
        ("mac", "obj,lib,h"),
        ("wasm", "so,h"),
    ],
)
def test_the_same_bytes_everywhere(target: str, kinds: str, tmp_path: Path, ellc_command) -> None:
    def compile_there(folder: Path, hash_seed: str) -> None:
        save(convolution_network(), folder / "net.eir")
        done = ellc_command(
            *("compile", "net.eir", "--target", target, "--emit", kinds, "-o", "out"),
            *("--dump-dir", "dump"),
            cwd=folder,
            env={"PYTHONHASHSEED": hash_seed},
        )
        assert done.returncode == 0, done.stderr

    files = assert_same_bytes_twice(compile_there, tmp_path)
    assert {"out/net.json", "out/net.h", "dump/00_input.txt"} <= set(files)
