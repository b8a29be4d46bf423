"""Styles and scripts of the pages, and the hashes by which the pages allow them."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from ellc.codegen.languages.foreign_text import HtmlCode, html_text


def asset(*names: str) -> HtmlCode:
    """The text of a style or script of this package; several scripts are joined into one."""
    folder = resources.files("ellc.gallery").joinpath("templates")
    return HtmlCode("\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def hash_of(text: HtmlCode) -> HtmlCode:
    """The hash by which a page's security policy allows this style or script, and no other."""
    digest = hashlib.sha256(text.encode()).digest()
    return html_text(f"sha256-{base64.b64encode(digest).decode()}")
