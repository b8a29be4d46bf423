"""Makes the page on which a visitor tries a network, with the module and the scripts."""

from __future__ import annotations

import base64
import json

from ellc.codegen.languages.foreign_text import HtmlCode, html_text
from ellc.codegen.languages.render import render_html
from ellc.commands.output import bytes_text
from ellc.gallery.assets import asset, hash_of
from ellc.gallery.names import page_name
from ellc.gallery.trial import Trial

_SCRIPTS = ("wasm.js", "pixels.js", "try.js")


def trial_page(model: str, trial: Trial) -> str:
    """The HTML of the page, which needs no other file."""
    style, script = asset("site.css"), asset(*_SCRIPTS)
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


def _about(trial: Trial) -> dict[str, object]:
    """The facts that the scripts need: parts of the manifest, and the format of pictures."""
    manifest = trial.manifest
    memory = manifest["memory"]
    assert isinstance(memory, dict)
    return {
        **{key: manifest[key] for key in ("name", "abi", "inputs", "outputs")},
        "arena_bytes": memory["arena_bytes"],
        "rows": trial.geometry.rows,
        "columns": trial.geometry.columns,
        "channels": trial.geometry.channels,
        "order": trial.order,
        "labels": trial.labels,
        "probabilities": trial.probabilities,
        "drawing": trial.drawing,
    }
