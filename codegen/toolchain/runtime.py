"""Where the C files are that ship inside generated packages."""

from __future__ import annotations

from pathlib import Path

from ir.errors import InternalError


def folder() -> Path:
    """`runtime_c/`: in an installed ellc it is data of the package `codegen`."""
    package = Path(__file__).resolve().parents[1]
    for found in (package / "runtime_c", package.parent / "runtime_c"):
        if (found / "ellc_pool.c").is_file():
            return found
    raise InternalError(f"the installation of ellc lacks runtime_c beside {package}")
