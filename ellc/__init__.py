"""ellc compiles trained neural networks to native code for small boards.

The public Python entry points are ``ellc.driver`` (compile), ``ellc.frontends`` (read a model),
``ellc.zoo`` (build one) and ``ir`` (the graph itself). Importing ``ellc`` itself is cheap.

Raises ``ImportError`` when another installed package called ``ir`` or ``codegen`` would be
imported in place of ours: see :func:`_check_siblings`.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

_SIBLINGS = ("ir", "codegen")


def _package_dir(name: str) -> Path | None:
    """Return the folder that ``import name`` would use, without importing it."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        paths = list(getattr(loaded, "__path__", [])) or [getattr(loaded, "__file__", None) or ""]
        return Path(paths[0]).resolve()
    spec = find_spec(name)
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or [])
    return Path(locations[0] if locations else spec.origin or "").resolve()


def _check_siblings() -> None:
    """Refuse to start with a stranger's ``ir`` or ``codegen``.

    Both are short names. A wrong one would surface as a puzzling ``AttributeError`` deep inside a
    compile, so it is named here, with what to do about it.
    """
    root = Path(__file__).resolve().parent.parent
    for name in _SIBLINGS:
        found = _package_dir(name)
        if found == root / name:
            continue
        if found is None:
            raise ImportError(
                f"ellc needs its own package '{name}' beside it in {root}, and it is not there. "
                "The installation is incomplete: reinstall it, e.g. `pipx reinstall ellc`.",
                name=name,
            )
        raise ImportError(
            f"ellc needs its own package '{name}' ({root / name}), but Python finds another one "
            f"in the way: {found}. Install ellc into an environment of its own, e.g. "
            f"`pipx install ellc`, or remove the package that owns {found}.",
            name=name,
            path=str(found),
        )


_check_siblings()
