"""A profile as node data for Google's Model Explorer, which colours the model's own graph by it.

A file of node data for one graph has `results`, a number for each key, and a `gradient`, the
colours from the least number to the largest. A key is the name of a node, or of a tensor that it
computes: ellc keeps the names of nodes in ONNX files, and those of tensors in TFLite files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ellc.ir.files import write_text
from ellc.profile.figures import Profile

_GRADIENT = ((0.0, "#ffffff"), (0.25, "#ffe3b3"), (0.6, "#f7a35c"), (1.0, "#c8372d"))


def write_node_data(profile: Profile, path: Path) -> None:
    """Write the file; raises `EllcError` (E703) if it cannot be written."""
    write_text(path, json.dumps(node_data(profile), indent=1, allow_nan=False) + "\n")


def node_data(profile: Profile) -> dict[str, Any]:
    """The cost of each layer of the model.

    Layers that were fused are computed at once: the first has the cost, the others have none, so
    that sums are right. Layers that became several nodes have the sum of these.
    """
    results: dict[str, float] = {}
    for layer in profile.layers:
        for key in layer.layers:
            results.setdefault(key, 0.0)
        if layer.layers:
            results[layer.layers[0]] += layer.figures.cost
    return {
        "results": {key: {"value": value} for key, value in results.items()},
        "gradient": [{"stop": stop, "bgColor": colour} for stop, colour in _GRADIENT],
    }
