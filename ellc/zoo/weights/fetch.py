"""Downloads published weights when the user asks for them; nothing else in ellc downloads."""

from __future__ import annotations

import hashlib
import io
import urllib.request
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from ellc.ir.errors import EllcError
from ellc.ir.files import whole_file
from ellc.progress import Progress, silent
from ellc.zoo.facts import WeightsFile, facts

_CHUNK = 1 << 20
_SECONDS = 60  # the longest time to wait for the next bytes
Open = Callable[[str], AbstractContextManager[IO[bytes]]]


def _open(url: str) -> Any:
    return urllib.request.urlopen(url, timeout=_SECONDS)  # `facts` accepts only https


def fetch(name: str, path: Path, progress: Progress = silent, open_url: Open = _open) -> int:
    """Download the published weights of a network into a file; returns the number of bytes written.

    Nothing is written if the download does not have the SHA-256 in the facts. Raises `EllcError`:
    E744 if the facts of the network name no weights, or if the file at their URL cannot be
    downloaded, is longer than the facts say or has another SHA-256; E703 if the file cannot be
    written.
    """
    row = facts()[0].get(name)
    if row is None or row.weights is None:
        known = ", ".join(other for other, it in facts()[0].items() if it.weights)
        raise EllcError(
            f"no published weights of '{name}' are known",
            code="E744",
            hint=f"there are published weights of {known}",
        )
    content = _member(_received(row.weights, progress, open_url), row.weights)
    with whole_file(path, needed_bytes=len(content)) as partial:
        partial.write_bytes(content)
    return len(content)


def _received(weights: WeightsFile, progress: Progress, open_url: Open) -> bytes:
    parts, count = [], 0
    try:
        with open_url(weights.url) as answer:
            while part := answer.read(_CHUNK):
                count += len(part)
                if count > weights.bytes:
                    raise _others(weights, f"there are more than {weights.bytes:,} bytes")
                parts.append(part)
                progress(f"fetching {weights.url}", count, weights.bytes)
    except (OSError, ValueError) as error:
        raise EllcError(f"cannot download: {error}", code="E744", where=weights.url) from error
    content = b"".join(parts)
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise _others(weights, "their SHA-256 differs")
    return content


def _others(weights: WeightsFile, why: str) -> EllcError:
    return EllcError(
        f"the downloaded bytes are not the published weights: {why}",
        code="E744",
        where=weights.url,
        hint="nothing was written",
    )


def _member(content: bytes, weights: WeightsFile) -> bytes:
    """The file with the weights in an archive; `content` itself if `weights` names no member."""
    if not weights.member:
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(weights.member)
