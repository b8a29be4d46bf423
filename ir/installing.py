"""Hints for installing a missing Python package. Only this file knows ellc's name on PyPI."""

from __future__ import annotations

DISTRIBUTION = "ellc-compiler"
"""`pip install` takes this name; the command and the import are called `ellc`."""


def extra_hint(extra: str, *packages: str) -> str:
    """The hint that installs an optional extra of ellc, which consists of `packages`."""
    return (
        f"pip install '{DISTRIBUTION}[{extra}]', or where pipx installed ellc: "
        f"pipx inject {DISTRIBUTION} {' '.join(packages)}"
    )


def core_hint(package: str) -> str:
    """The hint that reinstalls a package that every installation of ellc contains."""
    return (
        f"pip install {package} (a plain `pip install {DISTRIBUTION}` brings it), or where pipx "
        f"installed ellc: pipx reinstall {DISTRIBUTION}"
    )
