"""Takes the facts of ELL's gallery pages over into the zoo's own form.

Run as a program with the gallery data's file (`ell/gallery_models.json` in the folder of
ELLC_TEST_DATA), it prints what `ellc/zoo/gallery.json` must hold.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

FIRST = "d_I224x224x3NCMNCMNBMNBMNBMNBMNC1A"
COLUMNS = ["layer", "activation", "out", "out_pad", "window", "stride"]
WINDOWED = ("Convolution", "BinaryConvolution", "MaxPooling", "AveragePooling")
# What people subtract from ImageNet pictures, blue first; the pages do not say the three numbers.
ASSUMED_MEANS = [103.939, 116.779, 123.68]


def listed_pages(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pages that give every layer's padded shape, the best known network first."""
    pages = [model for model in models if model.get("architecture")]
    return sorted(pages, key=lambda page: (page["name"] != FIRST, page["name"]))


def document(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The zoo's whole file."""
    by_name = {model["name"]: model for model in models}
    pages = [
        page_facts(page, by_name[page["later_name"]]["graph"]["ops"])
        for page in listed_pages(models)
    ]
    return {
        "source": "microsoft/ELL (MIT licence), docs/gallery/ILSVRC2012, pages of 2017",
        "columns": COLUMNS,
        "pages": pages,
    }


def page_facts(page: dict[str, Any], later: list[dict[str, Any]]) -> dict[str, Any]:
    """One page; `later` is the plotted graph of the same network trained again."""
    layers = page["architecture"]["layers"]
    for before, layer in itertools.pairwise(layers):
        assert (layer["in"], layer["in_pad"]) == (before["out"], before["out_pad"])
    table = (page.get("architecture_summary_table") or {}).get("layers")
    mean, mean_from = _mean(later)
    facts: dict[str, Any] = {
        "name": page["name"],
        "input": layers[0]["in"],
        "colours": page["input"]["channel_order"].lower(),
        "windows_from": "table" if table else "shapes",
        "mean": mean,
        "mean_from": mean_from,
    }
    if any(layer["layer"] == "Dense" for layer in layers):
        assert sum(op["op"] == "Activation" for op in later) + 1 == _count(layers, "Dense")
        facts |= {"hidden_activation": "ReLU", "hidden_activation_from": "plot"}
    facts["layers"] = [list(row) for row in _rows(layers, table)]
    return facts


def _rows(layers: list[dict[str, Any]], table: list[dict[str, Any]] | None) -> list[list[Any]]:
    sized = iter([row for row in table or [] if "size" in row])
    rows = []
    for layer in layers:
        row = [layer["layer"], layer.get("activation", ""), layer["out"], layer["out_pad"]]
        if layer["layer"] in WINDOWED:
            window, stride = derived_window(layer)
            if table:
                listed = next(sized)
                assert listed["size"] == f"{window}x{window}" and listed["stride"] == str(stride)
            row += [window, stride]
        rows.append(row)
    assert next(sized, None) is None
    return rows


def derived_window(layer: dict[str, Any]) -> tuple[int, int]:
    """Window and stride that a layer's padded shapes allow, as in every page with a table.

    Convolutions step by 1; a mean is over the whole image; maxima are over 3x3 where there is a
    border and over 2x2 where there is none, and step by 2.
    """
    reach, outputs = layer["in"][0], layer["out"][0] - 2 * layer["out_pad"]
    match layer["layer"]:
        case "MaxPooling":
            window, stride = (3, 2) if layer["in_pad"] else (2, 2)
            assert -(-(reach - window) // stride) + 1 >= outputs >= (reach - window) // stride + 1
            return window, stride
        case "AveragePooling":
            assert outputs == 1
            return reach, 1
        case _:
            return reach - outputs + 1, 1


def _mean(later: list[dict[str, Any]]) -> tuple[list[float], str]:
    minus = next(op for op in later if op["op"] == "Minus")
    constant = minus["params"][0]["constant"]
    return (ASSUMED_MEANS, "assumed") if constant is None else ([float(constant)], "plot")


def _count(layers: list[dict[str, Any]], kind: str) -> int:
    return sum(layer["layer"] == kind for layer in layers)


def text(facts: dict[str, Any]) -> str:
    """The file's text: a page's layers are one to a line."""
    lines = ["{"]
    lines += [f'  "{key}": {json.dumps(facts[key])},' for key in ("source", "columns")]
    lines += ['  "pages": [']
    for page in facts["pages"]:
        head = {key: value for key, value in page.items() if key != "layers"}
        lines.append(f'    {json.dumps(head)[:-1]}, "layers": [')
        lines += [f"      {json.dumps(row)}," for row in page["layers"]]
        lines[-1] = lines[-1][:-1]
        lines.append("    ]},")
    lines[-1] = lines[-1][:-1]
    return "\n".join([*lines, "  ]", "}", ""])


if __name__ == "__main__":
    print(text(document(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))), end="")
