"""The table of targets: complete rows, valid names, and derived values that agree."""

from __future__ import annotations

import dataclasses

import pytest
from small_networks import convolution_network, two_way_network

from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.machine.resolve import Overrides, fixed_targets, resolve, target_names
from ellc.codegen.machine.target import Target
from ellc.codegen.output.emit import plan_kernels
from ellc.codegen.planning.planner import make_plan
from ellc.ir.errors import EllcError
from ellc.ir.pipeline import run_pipeline

ROWS = fixed_targets()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_is_whole(row: Target) -> None:
    assert resolve(row.name) is row
    assert row.triple.count("-") >= 2
    assert row.description and row.c_target and row.zig_cpu
    assert row.l1_bytes > 0 and row.clock_hz > 0 and row.cores >= 1
    assert (row.lld_emulation != "") == (row.elf_machine != 0) == (row.object_format == "elf")
    assert f"p:{row.word_bits}" in row.datalayout or row.word_bits == 64
    assert (row.vector_bytes == 4) == (not row.features & {"neon", "avx2", "simd128"})
    assert row.default_threads == (row.cores if row.has_os else 1)


OWN = {"name", "description", "cores", "clock_hz", "emulator", "memories"}
"""Fields of a board in addition to its core, triple and features."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_custom_target_with_the_core_of_a_board_equals_it(row: Target) -> None:
    made = resolve("custom", Overrides(row.triple, row.cpu, row.llvm_features))
    names = {field.name for field in dataclasses.fields(Target)} - OWN
    assert {n: getattr(made, n) for n in names} == {n: getattr(row, n) for n in names}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("custom", Overrides("aarch64-unknown-linux-gnu", "cortex-a53")),
        ("pi4", Overrides(cpu="cortex-a53")),
        ("imx93", Overrides(cpu="cortex-a53")),
    ],
)
def test_kernels_depend_on_the_core_alone(name: str, asked: Overrides) -> None:
    board, made = resolve("pi3_64"), resolve(name, asked)
    assert made.as_written and resolve("pi3_64", Overrides(llvm_features="+crc")).as_written
    for graph in (convolution_network(), two_way_network()):
        ready, _ = run_pipeline(graph)
        kernels = [
            [*map(print_kernel, plan_kernels(make_plan(ready, target, Options(), "m")))]
            for target in (board, made)
        ]
        assert kernels[0] == kernels[1]


def test_host_is_this_machine() -> None:
    host = resolve("host")
    assert host.cpu and host.cores >= 1 and host.vector_bytes >= 16
    assert dataclasses.replace(host) == resolve("host")


def test_names_are_unique_and_complete() -> None:
    names = target_names()
    assert len(set(names)) == len(names)
    asked = (
        "host linux mac windows wasm pi0 pi3 pi3_64 pi4 pi5 orangepi0 dragonboard410c imx8mp imx93"
    )
    assert set(names) >= {*asked.split(), "imxrt1050", "imxrt1170", "mcxn947", "custom"}


def test_unknown_name_lists_close_ones() -> None:
    with pytest.raises(EllcError) as caught:
        resolve("p13")
    assert caught.value.code == "E601"
    assert "did you mean pi3" in caught.value.hint


def test_custom_needs_a_triple() -> None:
    with pytest.raises(EllcError, match="needs a triple"):
        resolve("custom")


def test_custom_from_triple_and_features() -> None:
    made = resolve("custom", Overrides("x86_64-unknown-linux-gnu", "", "+avx2,+fma", cores=6))
    assert (made.vector_bytes, made.cores, made.fused_multiply_add) == (32, 6, True)
    soft = resolve(
        "custom", Overrides("thumbv7em-unknown-none-eabi", "cortex-m7", "+soft-float,-fpregs")
    )
    assert not soft.fused_multiply_add and not soft.scalar_f64


def test_override_of_a_row_derives_its_abilities_anew() -> None:
    with_dot = resolve("pi3_64", Overrides(cpu="cortex-a76"))
    assert with_dot.has("dotprod", "fp16") and with_dot.cores == 4
    assert with_dot.zig_cpu == "cortex_a76"
    assert not resolve("pi3", Overrides(llvm_features="-neon")).has("neon")


@pytest.mark.parametrize("triple", ["powerpc64le-unknown-linux-gnu", "mips-unknown-none-elf", "x"])
def test_unknown_architecture_is_an_error(triple: str) -> None:
    with pytest.raises(EllcError) as caught:
        resolve("custom", Overrides(triple))
    assert caught.value.code == "E603"


def test_feature_without_sign_is_an_error() -> None:
    with pytest.raises(EllcError, match="no sign"):
        resolve("custom", Overrides("x86_64-unknown-linux-gnu", "", "avx2"))


def test_a_triple_of_another_architecture_needs_a_cpu() -> None:
    """This holds for every target: without a CPU, LLVM would take that of this machine."""
    triples = {row.arch: row.triple for row in ROWS}
    assert len(triples) == 6
    for row in (resolve("host"), *ROWS):
        for arch in triples.keys() - {row.arch}:
            with pytest.raises(EllcError, match="E604") as caught:
                resolve(row.name, Overrides(triples[arch]))
            assert "also give --cpu" in caught.value.report()
            assert resolve(row.name, Overrides(triples[arch], "generic")).arch == arch
