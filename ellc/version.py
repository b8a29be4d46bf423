"""The versions that decide what bytes come out: ellc, LLVM and the linker."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version

from ellc import __version__

_LINKER_TIMEOUT_S = 60


def linker_version() -> str:
    """What the bundled linker calls itself, e.g. ``LLD 22.1.8``; ``unknown`` if it fails."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "ziglang", "ld.lld", "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_LINKER_TIMEOUT_S,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.split("(", 1)[0].strip() or "unknown"


def version_text() -> str:
    """Two lines for ``ellc --version``."""
    from llvmlite import binding

    llvm = ".".join(str(part) for part in binding.llvm_version_info)
    return (
        f"ellc {__version__} (Python {platform.python_version()})\n"
        f"LLVM {llvm} (llvmlite {version('llvmlite')}), "
        f"linker {linker_version()} (ziglang {version('ziglang')})"
    )
