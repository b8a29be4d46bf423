"""Results kept on disk between runs: damaged files, strange files, many writers, full disks."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from interrupted import small_disk

from ellc.codegen.toolchain.kept import MOST_BYTES, Shelf

CONTENT = b"a content of some length, which is compressed " * 9


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def test_what_is_put_is_found(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "not" / "yet")
    assert shelf.get(key(1)) is None
    shelf.put(key(1), CONTENT)
    assert shelf.get(key(1)) == CONTENT and shelf.get(key(2)) is None
    shelf.put(key(1), b"")
    assert shelf.get(key(1)) == b""
    assert (tmp_path / "not" / "yet").stat().st_mode & 0o077 == 0


def test_the_folder_does_not_grow(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, files=8)
    for number in range(100):
        shelf.put(key(number), CONTENT + bytes([number]))
    assert len(list(tmp_path.iterdir())) == 8
    found = [number for number in range(100) if shelf.get(key(number)) is not None]
    assert len(found) == 8
    assert all(shelf.get(key(number)) == CONTENT + bytes([number]) for number in found)
    shelf.put(key(1), random.Random(1).randbytes(2 * MOST_BYTES))
    shelf.put(key(2), bytes(1 << 21))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 8 * MOST_BYTES
    assert shelf.get(key(2)) in (None, CONTENT + bytes([2]))


def test_a_damaged_file_is_like_none(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(key(1), CONTENT)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        assert shelf.get(key(1)) is None
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        file.write_bytes(changed)
        assert shelf.get(key(1)) is None
    for more in (b"\0", bytes(1 << 20)):
        file.write_bytes(whole + more)
        assert shelf.get(key(1)) is None
    shelf.put(key(1), CONTENT)
    assert file.read_bytes() == whole and shelf.get(key(1)) == CONTENT


def test_strange_things_in_the_place_of_a_file(tmp_path: Path) -> None:
    shelf, other = Shelf(tmp_path / "shelf"), tmp_path / "other"
    shelf.put(key(1), CONTENT)
    (file,) = shelf.folder.iterdir()
    other.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(other)
    shelf.put(key(1), b"this must not get into another file")
    assert shelf.get(key(1)) is None and other.stat().st_size > len(CONTENT) // 9
    file.unlink()
    os.mkfifo(file)  # nobody reads it, and nobody writes it
    shelf.put(key(1), CONTENT)
    assert shelf.get(key(1)) is None
    file.unlink()
    file.mkdir()
    shelf.put(key(1), CONTENT)
    assert shelf.get(key(1)) is None


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "in", Path("/proc/no"), Path("a\0b")):
        shelf = Shelf(folder)
        shelf.put(key(1), CONTENT)
        assert shelf.get(key(1)) is None


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path, 1 << 16) as mounted:
        if not mounted:
            pytest.skip("only the superuser mounts a disk")
        shelf = Shelf(tmp_path / "shelf")
        contents = [random.Random(number).randbytes(12_000) for number in range(20)]
        for number, content in enumerate(contents):
            shelf.put(key(number), content)
        found = [shelf.get(key(number)) for number in range(20)]
        assert None in found and contents[0] in found
        assert all(f in (None, c) for f, c in zip(found, contents, strict=True))


WRITER = """
import random, sys
from pathlib import Path
from ellc.codegen.toolchain.kept import Shelf
shelf, rng = Shelf(Path(sys.argv[1]), files=1), random.Random(int(sys.argv[2]))
for _ in range(1500):
    name = f"{rng.randrange(4):064x}"
    found = shelf.get(name)
    assert found is None or found == name.encode() * (50 * int(name, 16) + 1), found
    shelf.put(name, name.encode() * (50 * int(name, 16) + 1))
"""


@pytest.mark.slow
def test_many_processes_at_once(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen([*words, str(number)]) for number in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
