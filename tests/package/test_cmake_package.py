"""`find_package(net)` with the folder of a compilation, and with an installation prefix."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_networks import convolution_network

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.toolchain import emulate
from ellc.driver import CompileOptions, compile_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed"),
]
PROGRAM = r"""
#include <stdio.h>
#include "net.h"
int main(void)
{
    static _Alignas(net_ARENA_ALIGN) unsigned char arena[net_ARENA_BYTES];
    static float x[net_INPUT0_SIZE], y[net_OUTPUT0_SIZE];
    net_t m;
    int status = net_init(&m, arena, sizeof arena);
    if (!status)
        status = net_predict(&m, x, y);
    printf("%d %s\n", status, net_TARGET);
    net_destroy(&m);
    return status;
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.10)
project(application C)
find_package(net REQUIRED)
foreach(kind {kinds})
    add_executable(with_${{kind}} main.c)
    target_link_libraries(with_${{kind}} PRIVATE net::${{kind}})
endforeach()
"""


def cmake(*words: str | Path) -> None:
    ran = subprocess.run(["cmake", *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def compiled(target: str, folder: Path, *kinds: str) -> Path:
    options = CompileOptions(emit=(*kinds, "cmake"), threads=2)
    compile_model(convolution_network("net"), target, options, folder)
    return folder


def installed(folder: Path, *words: str | Path) -> Path:
    """The prefix of an installation; the original folder is removed."""
    prefix, build = folder.with_name("prefix"), folder.with_name("build")
    cmake("-S", folder, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}", *words)
    cmake("--build", build)
    cmake("--install", build)
    shutil.rmtree(folder)
    shutil.rmtree(build)
    return prefix


def application(folder: Path, prefix: Path, kinds: str, *words: str | Path) -> dict[str, Path]:
    """Programs that link with the network in a prefix, by kind of library."""
    folder.mkdir()
    (folder / "main.c").write_text(PROGRAM)
    (folder / "CMakeLists.txt").write_text(PROJECT.format(kinds=kinds))
    cmake("-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}", *words)
    cmake("--build", folder / "build")
    return {kind: folder / "build" / f"with_{kind}" for kind in kinds.split()}


@pytest.mark.parametrize(
    ("kinds", "linked"),
    [
        (("so", "obj"), "net static"),
        (("lib",), "net static"),
        (("c",), "net static"),
        (("so",), "net"),
    ],
)
def test_an_installed_network_is_found(kinds: tuple[str, ...], linked: str, tmp_path: Path) -> None:
    prefix = installed(compiled("host", tmp_path / "out", *kinds))
    for program in application(tmp_path / "app", prefix, linked).values():
        ran = subprocess.run([program], capture_output=True, text=True, check=True)
        assert ran.stdout == "0 host\n"


def test_the_folder_itself_is_found(tmp_path: Path) -> None:
    folder = compiled("host", tmp_path / "out", "so", "obj")
    for program in application(tmp_path / "app", folder, "net static").values():
        assert subprocess.run([program], capture_output=True, check=True).stdout == b"0 host\n"


@pytest.mark.emulated("qemu-aarch64")
def test_a_foreign_network_is_found_and_runs(tmp_path: Path) -> None:
    row = resolve("pi3_64")
    for tool, words in (("cc", f"cc -target {row.c_target}"), ("ar", "ar")):
        script = tmp_path / f"{tool}.sh"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang {words} "$@"\n')
        script.chmod(0o755)
    cross = (
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_C_COMPILER={tmp_path / 'cc.sh'}",
        f"-DCMAKE_AR={tmp_path / 'ar.sh'}",
        "-DCMAKE_RANLIB=:",
    )
    prefix = installed(compiled("pi3_64", tmp_path / "out", "so", "obj"), *cross)
    programs = application(tmp_path / "app", prefix, "net static", *cross)
    for program in programs.values():
        words = [*emulate.prefix(row), "-L", "/usr/aarch64-linux-gnu", program]
        ran = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
        assert ran.stdout == "0 pi3_64\n", ran.stderr
