"""Makes the page on which a visitor tries a network, with the module and the scripts."""

from __future__ import annotations

import base64
import json

from ellc.codegen.languages.foreign_text import HtmlCode, html_text
from ellc.codegen.languages.render import render_html
from ellc.codegen.output.package.texts import network_script
from ellc.commands.output import bytes_text
from ellc.gallery.assets import asset, hash_of
from ellc.gallery.names import page_name
from ellc.gallery.trial import Trial


def trial_page(model: str, trial: Trial) -> str:
    """The HTML of the page, which needs no other file."""
    style, script = asset("site.css"), _script()
    return render_html(
        "try.html.j2",
        "ellc.gallery",
        style=style,
        style_hash=hash_of(style),
        script=script,
        script_hash=hash_of(script),
        name=html_text(model),
        precision=HtmlCode(trial.precision),
        page=html_text(page_name(model)),
        bytes=html_text(bytes_text(len(trial.module))),
        drawing=trial.drawing is not None,
        rows=trial.geometry.rows,
        columns=trial.geometry.columns,
        preprocessing=html_text(trial.preprocessing),
        probabilities=trial.probabilities,
        about=html_text(json.dumps(_about(trial), separators=(",", ":"))),
        module=HtmlCode(base64.b64encode(trial.module).decode()),
    )


def _script() -> HtmlCode:
    """All scripts of the page as one; the first line makes it strict."""
    return HtmlCode("\n".join((asset("pixels.js"), network_script(), asset("try.js"))))


def _about(trial: Trial) -> dict[str, object]:
    """The facts that the scripts need: parts of the manifest, and the format of pictures."""
    manifest = trial.manifest
    memory = manifest["memory"]
    assert isinstance(memory, dict)
    return {
        **{key: manifest[key] for key in ("name", "abi", "hash", "inputs", "outputs")},
        "arena_bytes": memory["arena_bytes"],
        "rows": trial.geometry.rows,
        "columns": trial.geometry.columns,
        "channels": trial.geometry.channels,
        "order": trial.order,
        "labels": trial.labels,
        "probabilities": trial.probabilities,
        "drawing": trial.drawing,
    }
