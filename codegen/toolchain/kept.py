"""Small results that are kept on disk between runs, in a folder of bounded size.

A `Shelf` is a cache without any promise: `get` may always return None, and `put` may do nothing.
Neither raises an error, whatever the folder contains and whatever the system refuses.

There is a fixed number of files, and the first digits of a key choose one. So two entries may want
the same file; the later one replaces the earlier. A file begins with a hash of the key and the
content. Without this hash nothing is returned; therefore a file that another process is writing, or
of which a full disk or a crash left only a part, is like no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

FILES = 8192
"""The files of a shelf."""
MOST_BYTES = 1 << 14
"""The largest file. A larger entry is not kept, so a shelf never takes more than 128 MiB."""
_MOST_CONTENT_BYTES = 1 << 20
_HASH_BYTES = hashlib.sha256().digest_size
# The folder is the user's, but what is in a file's place may be a link, a pipe or a device.
_SAFELY = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def user_cache_folders() -> list[Path]:
    """The folders for caches of this user, best first: `XDG_CACHE_HOME`, then `~/.cache`."""
    named = os.environ.get("XDG_CACHE_HOME")
    folders = [Path(named)] if named else []
    with contextlib.suppress(RuntimeError):  # there is no home folder
        folders.append(Path.home() / ".cache")
    return folders


@dataclass(frozen=True)
class Shelf:
    """A folder of entries; keys are hexadecimal digests. The folder need not exist."""

    folder: Path
    files: int = FILES

    def get(self, key: str) -> bytes | None:
        """The content that was put last with this key, if it is still there."""
        try:
            file = os.open(self._path(key), os.O_RDONLY | _SAFELY)
        except (OSError, ValueError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            found = os.read(file, MOST_BYTES + 1)
        except OSError:
            return None
        finally:
            os.close(file)
        return _content(key, found)

    def put(self, key: str, content: bytes) -> None:
        """Keep a content, unless it is large or the system refuses."""
        packed = zlib.compress(content, 6)
        whole = _hash(key, packed) + packed
        if len(whole) > MOST_BYTES or len(content) > _MOST_CONTENT_BYTES:
            return
        with contextlib.suppress(OSError, ValueError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _SAFELY
            file = os.open(self._path(key), flags, 0o600)
            try:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    os.write(file, whole)
            finally:
                os.close(file)

    def _path(self, key: str) -> Path:
        return self.folder / f"{int(key[:8], 16) % self.files:04x}"


def _content(key: str, found: bytes) -> bytes | None:
    """The content of a file; None if it is not a complete entry with this key."""
    packed = found[_HASH_BYTES:]
    if len(found) > MOST_BYTES or found[:_HASH_BYTES] != _hash(key, packed):
        return None
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(packed, _MOST_CONTENT_BYTES)
    except zlib.error:
        return None
    return content if unpacking.eof else None


def _hash(key: str, packed: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + packed).digest()
