"""How zig is started: its cache folder, its errors, its time limit."""

from __future__ import annotations

import importlib.machinery
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_networks import convolution_network

from ellc.codegen.toolchain import zig
from ellc.driver import CompileOptions, compile_model
from ellc.ir.errors import EllcError


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment in which only the temporary folder is writable."""
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked / "cache"))
    monkeypatch.setenv("HOME", str(blocked / "home"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    zig._private_temporary_folder.cache_clear()
    yield temporary
    zig._private_temporary_folder.cache_clear()


def test_cache_folder_by_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "named"))
    assert zig.cache_folder() == tmp_path / "named"
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert zig.cache_folder() == tmp_path / "xdg" / "ellc" / "zig"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert zig.cache_folder() == tmp_path / "home" / ".cache" / "ellc" / "zig"


def test_cache_folder_without_a_usable_home(no_home: Path) -> None:
    folder = zig.cache_folder()
    assert folder.parent == no_home and folder.stat().st_mode & 0o077 == 0
    assert zig.cache_folder() == folder
    (no_home / "x.s").write_text(".globl f\nf:\n  ret\n")
    words = ["cc", "-c", "-target", "x86_64-linux-gnu", "x.s", "-o", "x.o"]
    zig.run(words, what="assembling", cwd=no_home)
    assert (no_home / "x.o").read_bytes().startswith(b"\x7fELF")


def test_cache_folder_that_somebody_else_has_made(no_home: Path) -> None:
    name = no_home / f"ellc-zig-{os.getuid()}"
    name.symlink_to(no_home.parent / "elsewhere")
    folder = zig.cache_folder()
    assert folder != name and folder.parent == no_home


def test_failure_shows_the_tools_own_words() -> None:
    with pytest.raises(EllcError) as caught:
        zig.run(["ld.lld", "-m", "no_such_machine", "x.o"], what="linking x")
    report = caught.value.report()
    assert caught.value.code == "E610"
    assert "linking x failed (exit status 1)" in report
    assert "no_such_machine" in "\n".join(caught.value.problems)


def test_time_limit() -> None:
    with pytest.raises(EllcError, match="took longer than 0 s"):
        zig.run(["targets"], what="listing targets", limit_s=1e-4)


def test_missing_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EllcError, match="ziglang, which contains the linker, is missing") as caught:
        zig.run(["version"], what="asking for the version")
    assert caught.value.code == "E611" and "pip install ziglang" in caught.value.hint


def test_wheel_without_the_program_is_started_as_a_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = importlib.machinery.ModuleSpec("ziglang", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    assert zig.command()[1:] == ("-m", "ziglang")


@pytest.mark.parametrize(("free_bytes", "said"), [(4096, "no space left"), (1 << 30, "signal 6")])
def test_a_tool_that_aborts_without_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_bytes: int, said: str
) -> None:
    """On a full disk, clang prints no message and removes its incomplete file."""

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free_bytes if folder == tmp_path else 1 << 30)

    monkeypatch.setattr("shutil.disk_usage", usage)
    words = ["sh", "-c", "kill -ABRT $$", "-o", str(tmp_path / "made.o")]
    with pytest.raises(EllcError, match=said):
        zig.run_tool(words, what="compiling", code="E610")


@pytest.mark.parametrize("ends", ["echo 'No space left on device' >&2; exit 1", "kill -BUS $$"])
def test_a_full_disk_is_said_as_such(ends: str) -> None:
    with pytest.raises(EllcError, match="linking: no space left on the disk"):
        zig.run_tool(["sh", "-c", ends], what="linking", code="E612")


@pytest.mark.slow
def test_compiling_again_leaves_nothing_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Zig never removes files from its cache, so files of every compilation would fill the disk."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(cache))
    kept = []
    for name in ("first", "second"):
        # With `profile`, the package has an object of the runtime: the clock.
        options = CompileOptions(profile=True)
        compile_model(convolution_network(name), "pi3", options, tmp_path / name)
        kept.append(sorted(path.relative_to(cache) for path in cache.rglob("*")))
    assert kept[0] == kept[1]
    assert any(path.suffix == ".o" for path in kept[0]), "the runtime's objects are not kept"
