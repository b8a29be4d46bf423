"""Write the page of unsupported options of TensorFlow Lite, from the table of handlers.

    python tests/support/tflite_declined.py [--write]

Prints the page, or with --write writes it to ellc/frontends/tflite/OPTIONS.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnx_declined import table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "ellc" / "frontends" / "tflite" / "OPTIONS.md"


def page() -> str:
    """The text of the page."""
    from ellc.frontends.tflite.checks import REDUNDANT_OPTIONS, operators
    from ellc.frontends.tflite.versions import latest_version

    registry = operators()
    declined = [
        (f"`{kind}`", d.option, d.reason)
        for kind in sorted(registry.declined)
        for d in registry.declined[kind]
    ]
    latest: dict[int, list[str]] = {}
    for kind in sorted(registry.handlers):
        latest.setdefault(latest_version(kind), []).append(f"`{kind}`")
    return "\n".join(
        [
            "# Unsupported options and versions of TensorFlow Lite's operators",
            "",
            "`python tests/support/tflite_declined.py --write` generates this page from",
            "`registry.py` and `versions.py`. The first table lists the unsupported options of",
            "the supported operators, with the reasons that the report gives. Values that are",
            "not in the schema are refused. A test builds a model for each entry.",
            "",
            *table(("operator", "option", "reason"), declined),
            "These options do not change the result:",
            "",
            *table(("option", "why"), REDUNDANT_OPTIONS.items()),
            "Operators are supported up to the latest known version; later versions are refused.",
            "",
            *table(
                ("latest version", "operators"),
                ((str(n), ", ".join(kinds)) for n, kinds in sorted(latest.items())),
            ),
        ]
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(page(), encoding="utf-8")
    else:
        print(page())
