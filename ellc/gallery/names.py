"""Names of the site's files. All characters of a model's name are allowed in file names."""

from __future__ import annotations

import hashlib

INDEX = "index.html"


def page_name(model: str) -> str:
    """The file name of a model's page."""
    return f"model-{model}.html"


def trial_name(model: str, precision: str) -> str:
    """The file name of the page that runs a model."""
    return f"try-{precision}-{model}.html"


def package_name(model: str, precision: str, target: str) -> str:
    """The file name of a model compiled for a target, or of the model for ELL's tools (`ell`)."""
    return f"package-{precision}-{target}-{model}{'.ell' if target == 'ell' else ''}.zip"


def download_name(model: str, file_name: str) -> str:
    """The name that the site gives to a download of a model.

    Characters that are unsafe in an address are replaced; a hash then tells such names apart.
    """
    safe_name = "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in file_name
    )
    if safe_name != file_name:
        digest = hashlib.sha256(file_name.encode("utf-8", "surrogatepass")).hexdigest()
        safe_name = f"{digest[:8]}-{safe_name}"
    return f"file-{model}-{safe_name}"
