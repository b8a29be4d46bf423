"""Writes a compiled network as a wheel: `pip install` it on the board, then `import NAME`.

The wheel always has the same bytes: entries are sorted, have no times, and are not compressed. The
output of compressors depends on their version, and weights would hardly become smaller.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError

_EPOCH = (1980, 1, 1, 0, 0, 0)


def platform_tags(target: Target) -> tuple[str, ...]:
    """pip's names of the platforms that can load a library for this target.

    Raises `EllcError` (E313) if there is no Python for the target.
    """
    tags = target.platform.wheel_tags
    if tags:
        return tags
    raise EllcError(f"there is no Python for target {target.name!r}", code="E313")


def write_wheel(
    folder: Path, name: str, version: str, target: Target, files: Mapping[str, Path]
) -> Path:
    """Write the wheel of a distribution `name`. Returns its path.

    `files` maps names in the wheel to paths. `version` is the version that the user gave or, if the
    user gave none, ellc's public version with the hash of the network as the local part.
    """
    distribution = re.sub(r"[-_.]+", "_", name).strip("_").lower() or "model"
    tags = [f"py3-none-{platform}" for platform in sorted(platform_tags(target))]
    platforms = ".".join(sorted(platform_tags(target)))
    info = f"{distribution}-{version}.dist-info"
    path = folder / f"{distribution}-{version}-py3-none-{platforms}.whl"
    metadata = (
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        f"Summary: A neural network compiled by ellc for {target.name}\n"
        "Requires-Python: >=3.7\nRequires-Dist: cffi\nRequires-Dist: numpy\n"
    )
    wheel = "Wheel-Version: 1.0\nGenerator: ellc\nRoot-Is-Purelib: false\n"
    wheel += "".join(f"Tag: {tag}\n" for tag in tags)
    record: list[str] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for inside, file in sorted(files.items()):
            _add(archive, inside, file.read_bytes(), record)
        _add(archive, f"{info}/METADATA", metadata.encode(), record)
        _add(archive, f"{info}/WHEEL", wheel.encode(), record)
        record.append(f"{info}/RECORD,,")
        _add(archive, f"{info}/RECORD", "".join(f"{r}\n" for r in record).encode(), [])
    return path


def _add(archive: zipfile.ZipFile, name: str, data: bytes, record: list[str]) -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    record.append(f"{name},sha256={digest},{len(data)}")
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = 3  # the permissions below are those of Unix
    entry.external_attr = (0o100755 if name.endswith((".so", ".dylib")) else 0o100644) << 16
    archive.writestr(entry, data)
