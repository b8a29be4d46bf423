"""Objects and libraries of every target: needed and exported names, and reproducible bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from parts import quick_part
from small_networks import convolution_network, inputs_of, ready, reference_of, two_way_network

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.testing import Trial, of_libraries, run_trials
from ellc.codegen.output.build import KINDS, BuildOptions, BuildResult, build
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain import load
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph

ROOT = Path(__file__).resolve().parents[2]
ROWS = fixed_targets()
LOADED = tuple(row for row in ROWS if row.os == "linux")


def built(
    graph: Graph, target: Target, folder: Path, kinds: tuple[str, ...], **options: object
) -> BuildResult:
    chosen = BuildOptions("test", **options)  # type: ignore[arg-type]
    plan = make_plan(ready(graph), target, Options(threads=chosen.threads), graph.name)
    return build(plan, graph.name, kinds, folder, chosen)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_target_is_compiled(row: Target, tmp_path: Path) -> None:
    kind = "lib" if row.object_format == "coff" else "obj"
    made = built(convolution_network(), row, tmp_path, (kind,))
    (path,) = made.files[kind]
    if row.object_format != "elf":
        assert path.stat().st_size > 1000
        return
    found = ElfFile.read(path)
    assert found.machine == row.elf_machine
    assert of_libraries(found.undefined, row) == set()
    shown = sorted(s.name for s in found.symbols if not s.is_local and s.is_defined)
    assert shown == sorted(made.model.exports)
    assert made.stack_bytes is not None and 0 < made.stack_bytes < 4096


@pytest.mark.slow
@pytest.mark.parametrize("row", [*LOADED, resolve("host")], ids=lambda row: row.name)
def test_library_needs_nothing_and_shows_its_functions(row: Target, tmp_path: Path) -> None:
    made = built(convolution_network(), row, tmp_path, ("so",))
    found = ElfFile.read(made.files["so"][0])
    assert found.undefined == () and found.needed == ()
    assert sorted(found.exported) == sorted(made.model.exports)
    assert found.soname == "libsmall.so"
    assert not found.has_text_relocations and not found.has_executable_stack
    kernels = [s.name for s in found.symbols if s.is_function and "conv2d" in s.name]
    assert any("conv1" in name for name in kernels) and any("conv2" in name for name in kernels)


@pytest.mark.slow
def test_stripped_library_has_no_local_symbols(tmp_path: Path) -> None:
    made = built(convolution_network(), resolve("pi3"), tmp_path, ("so",), strip=True)
    assert ElfFile.read(made.files["so"][0]).symbols == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pi3", "pi3_64", "host"])
def test_threads_need_the_system_library_only(name: str, tmp_path: Path) -> None:
    made = built(convolution_network(), resolve(name), tmp_path, ("so",), threads=4)
    found = ElfFile.read(made.files["so"][0])
    assert found.needed == ("libpthread.so.0", "libc.so.6")
    assert {name.partition("_")[0] for name in found.undefined} == {"pthread", "syscall"}


def test_bare_metal_has_no_threads(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="E311"):
        built(convolution_network(), resolve("imxrt1050"), tmp_path, ("obj",), threads=2)


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="E310"):
        built(convolution_network(), resolve("host"), tmp_path, ("exe",))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pi3", "pi3_64"])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.emulated
def test_the_very_library_runs(name: str, threads: int, tmp_path: Path) -> None:
    graph, target = convolution_network(), resolve(name)
    made = built(graph, target, tmp_path, ("so",), threads=threads)
    inputs = inputs_of(graph)
    (want,) = reference_of(graph, inputs)
    library, sizes = made.files["so"][0], [want.nbytes]
    answer = load.call_library(
        target, library, "small", [inputs[0].tobytes()], sizes, threads=threads
    )
    (got,) = answer.outputs
    assert not disagreement(np.frombuffer(got, np.float32).reshape(want.shape), want)


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["host", "pi0", "pi3", "pi3_64"])
@pytest.mark.parametrize("emitter", ["llvm", "c"])
def test_states_are_carried_and_start_over(name: str, emitter: str) -> None:
    graph = two_way_network()
    first, second = inputs_of(graph, 1), inputs_of(graph, 2)
    trial = Trial(ready(graph), (first, second))
    for result in run_trials([trial, trial], resolve(name), "c" if emitter == "c" else "llvm"):
        assert not isinstance(result, Exception)
        (sum_1, product_1), (sum_2, product_2) = result
        assert np.allclose(sum_1, first[0] + [1, 2, 3]) and np.allclose(product_1, first[1] ** 2)
        assert np.allclose(sum_2, first[0] + second[0] + [1, 2, 3])
        assert np.allclose(product_2, (first[1] + second[1]) * second[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "emulator"),
    [
        ("pi3", ("qemu-arm", "-cpu", "cortex-a7")),
        ("orangepi0", ("qemu-arm", "-cpu", "cortex-a9")),
        ("pi5", ("qemu-aarch64", "-cpu", "cortex-a72")),
        ("linux", ("qemu-x86_64", "-cpu", "Nehalem")),
    ],
)
@pytest.mark.emulated("qemu-arm", "qemu-aarch64", "qemu-x86_64")
def test_a_lesser_cpu_is_told_not_killed(
    name: str, emulator: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ellc.codegen.toolchain.emulate.runs_directly", lambda _: False)
    graph = convolution_network()
    trial = Trial(ready(graph), (inputs_of(graph),))
    row = resolve(name)
    (refused,) = run_trials([trial], replace(row, emulator=emulator))
    assert isinstance(refused, Exception) and "returned -4" in str(refused)


_COMPILE = """
import sys
from pathlib import Path
from ellc.driver import CompileOptions, compile_model
emit = ("so", "obj", "lib", "h", "c", "llvm", "bitcode", "asm", "py", "ell", "cmake", "demo")
compile_model(Path(sys.argv[1]), sys.argv[2], CompileOptions(emit=emit), Path(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_part(("pi3_64", "pi3"), 0, 2))
def test_bytes_do_not_depend_on_folder_or_hash_seed(name: str, tmp_path: Path) -> None:
    model = tmp_path / "small.eir"
    save(convolution_network(), model)
    sums = []
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "ELLC_SCHEDULE_CACHE": ""}
    for seed, folder in (("1", tmp_path / "one"), ("2", tmp_path / "deep" / "er" / "two")):
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-c", _COMPILE, str(model), name, str(folder)],
            env={**variables, "PYTHONHASHSEED": seed},
            cwd=folder.parent,
            check=True,
        )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        sums.append(dict(zip(names, digests, strict=True)))
    assert sums[0] == sums[1]
    assert set(KINDS) and len(sums[0]) >= 14
    listed = json.loads((tmp_path / "one" / "small.json").read_text())["files"]
    assert {n: f["sha256"] for n, f in listed.items()} == {
        n: s for n, s in sums[0].items() if n != "small.json"
    }


@pytest.mark.slow
def test_two_objects_link_into_one_program(tmp_path: Path) -> None:
    for name in ("small", "other"):
        built(convolution_network(name), resolve("host"), tmp_path, ("obj",), threads=2)
    main = tmp_path / "main.c"
    main.write_text(
        '#include "small.h"\n#include "other.h"\n'
        "int main(void) { return (int)(small_arena_bytes() - other_arena_bytes()); }\n"
    )
    objects = [str(tmp_path / "small.o"), str(tmp_path / "other.o")]
    program = str(tmp_path / "main")
    words = ["cc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", str(main), *objects]
    subprocess.run([*words, "-lpthread", "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0
