"""Outputs are replaced completely or not at all, despite kills, full disks and unusual paths."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from interrupted import (
    DONE,
    REFUSED,
    full_from,
    killed_at,
    killed_everywhere,
    limited,
    small_disk,
    tree,
)
from small_networks import convolution_network

import ellc.folders
from ellc.driver import CompileOptions, compile_model
from ellc.folders import replaced_folder
from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.writer import write_archive
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.files import cannot_write, write_text

MINE = {"notes.txt": b"mine", "sub/deep/data": b"also mine"}
C_ONLY = CompileOptions(emit=("c", "cmake"), name="net")


def compile_c(target: str, folder: Path) -> None:
    """A compilation that starts no other program."""
    compile_model(convolution_network(), target, C_ONLY, folder)


def write(content: str, folder: Path) -> None:
    """Replace a folder like a compilation, but without compiling."""
    with replaced_folder(folder, "net.json") as made:
        for name in ("a.c", "net.h", "net.json"):
            write_text(made / name, content)


def add_mine(folder: Path) -> None:
    (folder / "sub" / "deep").mkdir(parents=True)
    for name, data in MINE.items():
        (folder / name).write_bytes(data)


@pytest.mark.slow
def test_compile_killed_anywhere_leaves_the_old_or_the_new_folder(tmp_path: Path) -> None:
    compile_c("pi0", tmp_path / "expected")
    new, out = tree(tmp_path / "expected"), tmp_path / "out"
    compile_c("host", out)
    add_mine(out)
    old, found = tree(out), []
    for _ in killed_everywhere(partial(compile_c, "pi0", out)):
        found.append(tree(out))
        assert found[-1] in (old, new | MINE)
    assert len(found) > 15 and found[0] == old and found[-1] == new | MINE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "out"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["exchange", "two renames"])
@pytest.mark.parametrize("there", [True, False])
def test_folder_killed_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, there: bool
) -> None:
    new = dict.fromkeys(("a.c", "net.h", "net.json"), b"new")
    old = dict.fromkeys(new, b"old") | MINE if there else {}
    wanted, count, moved_away = (old, new | MINE if there else new), 0, 0
    if way == "two renames":
        monkeypatch.setattr(ellc.folders, "_exchange", lambda _one, _other: False)
    while True:
        out = tmp_path / f"base{count}" / "out"
        if there:
            write("old", out)
            add_mine(out)
        outcome = killed_at(count, partial(write, "new", out))
        if there and not out.exists():
            moved_away += 1
        else:
            assert tree(out) in wanted
        with pytest.raises(ZeroDivisionError), replaced_folder(out, "net.json"):
            raise ZeroDivisionError  # even a run that fails removes what an earlier one left
        assert tree(out) in wanted
        assert [path.name for path in out.parent.iterdir() if path != out] == []
        if outcome == DONE:
            break
        count += 1
    assert count > 8 and tree(out) == wanted[1]
    assert moved_away == (1 if there and way == "two renames" else 0)


def test_folder_on_a_full_disk(tmp_path: Path) -> None:
    out, count = tmp_path / "out", 0
    write("old", out)
    add_mine(out)
    old = tree(out)
    while (was := full_from(count, partial(write, "new", out))) != DONE:
        assert was == REFUSED
        assert tree(out) == old
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        count += 1
    assert count > 5 and tree(out)["a.c"] == b"new"


def test_compile_whose_files_cannot_grow(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_c("host", out)
    old = tree(out)
    for file_bytes in (0, 1, 1000, 5000):
        assert limited(file_bytes, partial(compile_c, "pi0", out)) == REFUSED
        assert tree(out) == old
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_compile_on_a_disk_of_64_kB(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 1 << 16) as mounted:
        if not mounted:
            pytest.skip("may not mount a disk")
        write("old", disk / "out")
        with pytest.raises(EllcError, match=r"no space left on the disk: at least .* bytes"):
            compile_model(
                convolution_network(), "host", CompileOptions(emit=("so", "c", "obj")), disk / "out"
            )
        with pytest.raises(EllcError, match="no space left"):
            compile_model(convolution_network(), "host", C_ONLY, disk)  # cannot be renamed
        assert tree(disk) == {f"out/{name}": b"old" for name in ("a.c", "net.h", "net.json")}


@pytest.mark.parametrize("kind", ["text", "eir", "ell"])
def test_file_killed_anywhere(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"model.{kind}"

    def write_file() -> None:
        match kind:
            case "text":
                write_text(path, "new")
            case "eir":
                save(convolution_network(), path)
            case _:
                write_archive(ArchiveObject("x", None, ()), path)

    write_file()
    new = path.read_bytes()
    for writer in (killed_at, full_from):
        path.write_bytes(b"old")
        counts = 0
        while (was := writer(counts, write_file)) != DONE:
            assert path.read_bytes() in (b"old", new)
            counts += 1
            if writer is full_from:
                assert was == REFUSED and path.read_bytes() == b"old"
                assert os.listdir(tmp_path) == [path.name]
        assert counts > 1 and path.read_bytes() == new
        assert os.listdir(tmp_path) == [path.name]


def test_writers_at_the_same_time_do_not_tidy_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replaced_folder(out, "x") as one:
        (one / "x").write_text("one")
        with replaced_folder(out, "x") as two:
            (two / "x").write_text("two")
        assert tree(out) == {"x": b"two"}
    assert tree(out) == {"x": b"one"}


def test_link_to_a_folder_stays(tmp_path: Path) -> None:
    write("old", tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    write("new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "real")["net.h"] == b"new"
    (tmp_path / "nowhere").symlink_to("later")
    write("new", tmp_path / "nowhere")
    assert tree(tmp_path / "later")["net.h"] == b"new"


def test_current_folder_stays_and_its_manifest_is_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write("old", out)
    add_mine(out)
    (out / "a.c").chmod(0o600)
    monkeypatch.chdir(out / "sub")
    inode = out.stat().st_ino
    new = dict.fromkeys(("a.c", "net.h", "net.json"), b"new") | MINE
    for _ in killed_everywhere(partial(write, "new", out)):
        seen = tree(out)
        if "net.json" in seen:
            of_ours = {seen[name] for name in ("a.c", "net.h", "net.json")}
            assert len(of_ours) == 1
        write("old", out)
        assert set(tree(out)) == set(new)  # files of killed runs are removed
    assert tree(out) == new and out.stat().st_ino == inode


def test_what_may_not_be_written_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write("old", out)
    (out / "b.c").mkdir()
    with pytest.raises(EllcError, match="a folder called"), replaced_folder(out, "x") as made:
        (made / "b.c").write_text("")
    assert tree(out)["a.c"] == b"old" and (out / "b.c").is_dir()
    if os.geteuid():
        out.chmod(0o555)
        with pytest.raises(EllcError, match="E703"):
            write("new", out)
        assert tree(out)["a.c"] == b"old"


def test_links_fifos_and_modes_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write("old", out)
    out.chmod(0o2750)
    (out / "to").symlink_to("nothing")
    os.mkfifo(out / "fifo")
    (out / "script").write_text("x")
    (out / "script").chmod(0o755)
    write("new", out)
    assert os.readlink(out / "to") == "nothing" and (out / "fifo").is_fifo()
    assert out.stat().st_mode & 0o7777 == 0o2750
    assert (out / "script").stat().st_mode & 0o777 == 0o755


def test_disk_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write("old", tmp_path / "out")
    add_mine(tmp_path / "out")
    write("new", tmp_path / "out")
    assert tree(tmp_path / "out").items() >= MINE.items()


def test_no_plain_file_is_written_directly(tmp_path: Path) -> None:
    write_text(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device() and not Path("/dev/null.part").exists()
    target = tmp_path / "target"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and target.read_text() == "new"


def test_full_disk_is_said_with_the_bytes(tmp_path: Path) -> None:
    error = cannot_write(tmp_path / "x", OSError(28, "No space left on device"), needed_bytes=12345)
    assert "no space left on the disk: at least 12,345 bytes are needed" in error.report()


def test_in_a_current_folder_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute paths work; for a relative path, the error says that the folder is missing."""
    out, gone = tmp_path / "out", tmp_path / "gone"
    write("old", out)
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    write("new", out)
    assert (out / "a.c").read_text() == "new"
    for path in (Path("x"), Path(".")):
        with pytest.raises(EllcError, match="E703"):
            write("new", path)
        with pytest.raises(EllcError, match="E703"):
            write_text(path / "x.eir", "new")


def test_a_path_that_no_system_takes(tmp_path: Path) -> None:
    for attempt in (write, lambda content, path: write_text(path, content)):
        with pytest.raises(EllcError, match="E703"):
            attempt("new", tmp_path / "a\0b")
