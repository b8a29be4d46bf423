"""Write the page of unsupported attributes of ONNX operators, from the table of handlers.

    python tests/support/onnx_declined.py [--write]

Prints the page, or with --write writes it to ellc/frontends/onnx/ATTRIBUTES.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "ellc" / "frontends" / "onnx" / "ATTRIBUTES.md"


def page() -> str:
    """The text of the page."""
    from ellc.frontends.onnx.registry import all_operators
    from ellc.frontends.onnx.tensors import ELEMENT_TYPES, HALF_TYPES, NARROW_TYPES, UNREAD

    operators = all_operators()
    declined = [
        (f"`{kind}`", f"{d.part} {d.name}", d.reason)
        for kind in sorted(operators.declined)
        for d in operators.declined[kind]
    ]
    ignored = [
        (f"`{kind}`", name, why)
        for kind in sorted(operators.ignored)
        for name, why in operators.ignored[kind].items()
    ]
    read = [e.name for e in ELEMENT_TYPES.values() if e.name not in HALF_TYPES]
    return "\n".join(
        [
            "# Unsupported attributes, operands and element types of ONNX's operators",
            "",
            "`python tests/support/onnx_declined.py --write` generates this page from",
            "`registry.py`. The table lists the unsupported attributes, optional operands and",
            "element types of the supported operators, with the reasons that the report gives. It",
            "covers all versions of the operators from operator set 7 on. A test builds a model",
            "for each entry.",
            "",
            *table(("operator", "unsupported", "reason"), declined),
            "These attributes do not change the result:",
            "",
            *table(("operator", "attribute", "why"), ignored),
            f"Supported element types: {', '.join(read)};",
            f"{' and '.join(HALF_TYPES)} are computed in float32.",
            f"Tensors of {', '.join(t.name for t in NARROW_TYPES.values())} may be constants or",
            "results of QuantizeLinear. DequantizeLinear and Cast read them, and operators that",
            "keep all elements (Transpose, Reshape, ...) move them.",
            f"Unsupported everywhere: {', '.join(sorted({*UNREAD.values()}))}.",
            "",
        ]
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a table, followed by an empty line."""
    lines = [head, ("---",) * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(page(), encoding="utf-8")
    else:
        print(page())
