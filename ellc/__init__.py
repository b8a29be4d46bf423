"""ellc compiles trained neural networks to native code for small boards.

The public Python entry points are ``ellc.driver`` (compile), ``ellc.frontends`` (read a model),
``ellc.zoo`` (build a model) and ``ellc.ir`` (the graph of a model). Importing ``ellc`` itself is
fast.

Raises ``ImportError`` in a checkout without its symbolic links: see `_check_links`.
"""

from __future__ import annotations

from pathlib import Path

__version__ = "0.2.0"


def _check_links() -> None:
    """Raise ``ImportError`` if ``ellc/ir`` or ``ellc/codegen`` is not a folder.

    In a checkout, both are symbolic links to folders next to this one. Git on Windows writes the
    links as small text files by default. Without this check, Python would only report that there is
    no module ``ellc.ir``.
    """
    here = Path(__file__).parent
    missing = [name for name in ("ir", "codegen") if not (here / name).is_dir()]
    if missing:
        raise ImportError(
            "these paths should be symbolic links to folders of this checkout, but are not: "
            f"{', '.join(str(here / name) for name in missing)}. "
            "On Windows, allow links (developer mode), then "
            "`git config core.symlinks true` and `git checkout -- ellc codegen`; or install a "
            "wheel: `pip install ellc-compiler`."
        )


_check_links()
