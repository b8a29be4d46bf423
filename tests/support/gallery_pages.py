"""Convert the facts of ELL's gallery pages to the format of the zoo.

As a program, with the path of the gallery's data (`ell/gallery_models.json` in the folder that
ELLC_TEST_DATA names), it prints the correct content of `ellc/zoo/gallery.json`. With a second
argument `plots` or `figures`, it prints that of `ellc/zoo/plots.json` or
`ellc/zoo/facts/gallery.json`.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FIRST = "d_I224x224x3NCMNCMNBMNBMNBMNBMNC1A"
COLUMNS = ["layer", "activation", "out", "out_pad", "window", "stride"]
WINDOWED = ("Convolution", "BinaryConvolution", "MaxPooling", "AveragePooling")
# The usual means of ImageNet pictures, blue first; the pages do not state them.
ASSUMED_MEANS = [103.939, 116.779, 123.68]


def listed_pages(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pages that have the padded shape of every layer, the best known network first."""
    pages = [model for model in models if model.get("architecture")]
    return sorted(pages, key=lambda page: (page["name"] != FIRST, page["name"]))


def document(models: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of `ellc/zoo/gallery.json`."""
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
    """The facts of a page; `later` is the plotted graph of the same network after new training."""
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
    """(window, stride), derived from a layer's padded shapes as on all pages with a table.

    Convolutions have stride 1. Average pools cover the whole image. Max pools have stride 2, and a
    window of 3x3 if there is a border, otherwise of 2x2.
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
    """The text of the file, with one layer per line."""
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


# ---- plotted graphs, and summary tables ----------------------------------------------------------

# The pages do not state these, but the networks need them: see `ellc/zoo/plots.py`.
ASSUMED_POOL, ASSUMED_ACTIVATION = 3, {"GardenCress": "leaky_relu"}
NO_PLOT = "its page has neither a list of layers nor a plot of the graph"
ONNX_ONLY = "it was published as an ONNX file only: no list of layers, no plot of the graph"


def plots_document(models: list[dict[str, Any]]) -> dict[str, Any]:
    """All pages that have a graph or a table instead of a list of layers, or none of these."""
    by_name = {model["name"]: model for model in models}
    known = {model["name"] for model in models if model.get("architecture")}
    pages, missing = [], {}
    for model in sorted(models, key=lambda model: model["name"]):
        name = model["name"]
        if name in known:
            continue  # an orphaned page; the network has another page
        if not model.get("graph") and not model.get("architecture_summary_table"):
            missing[name] = ONNX_ONLY if name in ("Asparagus", "Pear") else NO_PLOT
            continue
        known.add(name)
        facts = _of_graph(model) if model.get("graph") else _of_table(model, by_name)
        colours = model["input"]["channel_order"].lower()
        size = [model["input"][key] for key in ("rows", "columns", "channels")]
        pages.append({"name": name, "input": size, "colours": colours, **facts})
    return {
        "source": "microsoft/ELL and ELL-models (MIT licence), pages and plots of 2017 to 2020",
        "pages": pages,
        "missing": missing,
        "twice": sorted(_twice(models)),
    }


def _twice(models: list[dict[str, Any]]) -> set[str]:
    """Networks that have an orphaned page in addition to a linked one."""
    names = [model["name"] for model in models]
    return {name for name in names if names.count(name) == 2}


def _of_graph(model: dict[str, Any]) -> dict[str, Any]:
    table = [*(model.get("architecture_summary_table") or {}).get("layers", [])]
    pools = iter([row for row in table if row["layer"] == "Pooling"])
    convolutions = iter([row for row in table if row["layer"].endswith("Convolution")])
    named = {
        row["activation"]
        for row in table
        if row["layer"].endswith("Convolution")
        and row.get("activation") not in (None, "parametric relu")
    }
    kinds = {op["op"] for op in model["graph"]["ops"]}
    explicit = bool(kinds & {"Activation", "ReLU"}) and "Dense" not in kinds
    facts: dict[str, Any] = {"from": "plot", "windows_from": "table" if table else "assumed"}
    if "Minus" in kinds:
        facts["mean_from"] = "plot"
    block = ASSUMED_ACTIVATION.get(model["name"], "relu")
    if "Activation" in kinds:
        facts["activation_from"] = "table" if explicit and table else "assumed"
        if explicit and table:
            (only,) = named
            block = only.replace(" ", "_")
    elif not explicit:
        facts["activation_from"] = "table"
    places, layers = {}, []
    for op in model["graph"]["ops"]:
        before = [places[i] for i in op.get("from", []) if i in places]
        row = next(convolutions, {}) if op["op"] == "Convolution" and not explicit else {}
        words = _words(op, row, block, pools)
        if op["op"] == "Minus" and op["params"][0]["constant"] is None:
            facts["mean_from"] = "assumed"
        if op["op"] == "Input":
            places[op["id"]] = 0
        elif not words:
            places |= {op["id"]: before[0]} if before else {}
        else:
            last = len(layers)
            own = before if len(before) > 1 or before[0] != last else []
            if own and own[0] == last:
                own = own[1:]
            layers.append(" ".join([*words, *[f"@{index}" for index in own]]))
            places[op["id"]] = len(layers)
    assert next(pools, None) is None
    assert explicit or next(convolutions, None) is None
    return {**facts, "layers": layers}


def _words(
    op: dict[str, Any], row: dict[str, Any], block: str, pools: Iterator[dict[str, Any]]
) -> list[str]:
    """A layer in the notation of `ellc/zoo/plots.py`; empty if the notation leaves it out."""
    match op["op"]:
        case "Convolution" if op.get("binary"):
            return ["binary", str(op["filters"]), f"{op['kernel'][0]}/{op['stride']}"]
        case "Convolution":
            biased = ["bias"] if len(op["params"]) > 1 else []
            act = [row["activation"].replace(" ", "_")] if row.get("activation") else []
            size = f"{op['kernel'][0]}/{op['stride']}"
            assert op["kernel"][0] == op["kernel"][1]
            if op.get("depthwise"):
                return ["depthwise", size, *biased, *act]
            return ["conv", str(op["filters"]), size, *biased, *act]
        case "Dense":
            return ["dense", str(op["params"][0]["shape"][-1]), "bias"]
        case "MaxPooling":
            size = next(pools, None)
            return ["max", f"{size['size'][0] if size else ASSUMED_POOL}/{op['stride']}"]
        case "AveragePooling":
            next(pools, None)
            return ["mean"]
        case "Minus":
            constant = op["params"][0]["constant"]
            values = ASSUMED_MEANS if constant is None else [float(constant)]
            return ["minus", ",".join(map(str, values))]
        case "Plus":
            return ["bias"] if op.get("params") else ["plus"]
        case "Activation":
            return [block]
    names = {
        "BatchNormalization": "norm",
        "ReLU": "relu",
        "PReLU": "prelu",
        "ElementTimes": "scale",
    }
    return [names[op["op"]]] if op["op"] in names else []


def _of_table(model: dict[str, Any], by_name: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rows of a summary table, which has neither batch normalisation nor means."""
    layers = []
    later = by_name.get(model.get("later_name") or "")
    if later:
        mean, _ = _mean(later["graph"]["ops"])
        layers.append("minus " + ",".join(map(str, mean)))
    for row in model["architecture_summary_table"]["layers"]:
        match row["layer"], row.get("operation"):
            case "Convolution", _:
                act = [row["activation"].replace(" ", "_")] if row.get("activation") else []
                size = f"{row['size'].split('x')[0]}/{row['stride']}"
                layers.append(" ".join(["conv", str(row["out"][2]), size, "bias", *act]))
            case "Pooling", "max":
                layers.append(f"max {row['size'].split('x')[0]}/{row['stride']}")
            case "Pooling", "average":
                layers.append("mean")
            case other, _:
                assert other == "Softmax"
    facts = {"from": "table", "windows_from": "table", "activation_from": "table"}
    return {**facts, **({"mean_from": "plot"} if later else {}), "layers": layers}


def plots_text(facts: dict[str, Any]) -> str:
    """The text of the file, with several layers per line."""
    lines = ["{", f'  "source": {json.dumps(facts["source"])},', '  "pages": [']
    for page in facts["pages"]:
        head = {key: value for key, value in page.items() if key != "layers"}
        lines.append(f'    {json.dumps(head)[:-1]}, "layers": [')
        words = [json.dumps(layer) for layer in page["layers"]]
        lines += [f"      {', '.join(words[i : i + 6])}," for i in range(0, len(words), 6)]
        lines[-1] = lines[-1][:-1]
        lines.append("    ]},")
    lines[-1] = lines[-1][:-1]
    missing = json.dumps(facts["missing"], indent=4).replace("\n}", "\n  }")
    twice = f'  "twice": {json.dumps(facts["twice"])}'
    return "\n".join([*lines, "  ],", f'  "missing": {missing},', twice, "}", ""])


# ---- figures -------------------------------------------------------------------------------------


_MOST_MS = 100_000


def figures_text(models: list[dict[str, Any]]) -> str:
    """Accuracies and speeds of every page; of two pages with one name, those of the page at HEAD.

    Two times are mistakes on the pages and are left out: 0 ms, and 980,000 ms, which an earlier
    revision gives as 980.
    """
    pages = {model["name"]: model for model in sorted(models, key=lambda model: model["in_head"])}
    rows = []
    for name, page in sorted(pages.items()):
        top1, top5 = page.get("top1_percent"), page.get("top5_percent")
        times = {b: ms for b, ms in page["ms_per_frame"].items() if 0 < ms < _MOST_MS}
        rows.append(f"  {json.dumps([name, page['date'], top1, top5, times])}")
    return "[\n" + ",\n".join(rows) + "\n]\n"


if __name__ == "__main__":
    gallery = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    match sys.argv[2:]:
        case ["plots"]:
            print(plots_text(plots_document(gallery)), end="")
        case ["figures"]:
            print(figures_text(gallery), end="")
        case _:
            print(text(document(gallery)), end="")
