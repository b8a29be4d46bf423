"""What to type when a Python package is missing: the one place that knows our name on PyPI."""

from __future__ import annotations

DISTRIBUTION = "ellc-compiler"
"""`pip install` takes this name; the command and the import are called `ellc`."""


def extra_hint(extra: str, *packages: str) -> str:
    """How to get an extra of ours; `packages` are what it consists of."""
    return (
        f"pip install '{DISTRIBUTION}[{extra}]', or where pipx installed ellc: "
        f"pipx inject {DISTRIBUTION} {' '.join(packages)}"
    )


def core_hint(package: str) -> str:
    """How to get a package back that comes with every installation."""
    return (
        f"pip install {package} (a plain `pip install {DISTRIBUTION}` brings it), or where pipx "
        f"installed ellc: pipx reinstall {DISTRIBUTION}"
    )
