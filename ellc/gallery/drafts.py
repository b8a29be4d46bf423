"""Makes results without values, of model files and zoo networks, for `ellc gallery measure`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ellc.codegen.machine.resolve import resolve
from ellc.explain.cycle_tool import why_not_modelled
from ellc.frontends.format import suffixes
from ellc.gallery.load import refuse
from ellc.gallery.model_facts import ModelFacts
from ellc.gallery.models import counted
from ellc.gallery.rows import ACCURACIES, PRECISIONS, NetworkName
from ellc.inspect import NetworkReport
from ellc.ir.errors import EllcError
from ellc.ir.files import cannot_write, write_text
from ellc.ir.graph import Graph
from ellc.ir.types import DType
from ellc.models import default_name
from ellc.pictures.pixels import ORDER_KEY, Geometry, is_picture
from ellc.zoo import find
from ellc.zoo.facts import facts as facts_of_zoo

Document = dict[str, Any]
_NAMES = {"pi3": "Raspberry Pi 3 (32 bit)", "pi3_64": "Raspberry Pi 3 (64 bit)"}
_HERTZ = 1_000_000
_MOST_AXES = 4
_LONGEST_NAME = 100
_UNNAMED = re.compile(r"[^A-Za-z0-9._+-]+")
_MEASURED = "The time is the median of calls with one thread on the machine that is named."
_MODELLED = (
    "Times of ellc on the {board} are cycles of a model of its core, which ELLC_CYCLE_TOOL names, "
    "at {mhz} MHz: no board was run."
)
_PLANNED = "Sizes of ellc on the {board} are those of the plan of the compiled network."
_DRAWN = "Weights are drawn, not trained: they do not change the time."


@dataclass(frozen=True, slots=True)
class Drafts:
    """New results by file name, files to copy by new name, and why other models were left out."""

    results: Mapping[str, Document]
    copies: Mapping[str, Path]
    skipped: Mapping[Path, str]


def drafts_of_models(
    folder: Path, facts: Mapping[str, ModelFacts], targets: Sequence[str], machine: str, out: Path
) -> Drafts:
    """Make the results of all model files in `folder` for some targets, to be written to `out`.

    A model file that cannot be read, or whose name cannot be printed, is left out. Raises
    `EllcError` E780 if `folder` cannot be listed or has no model file, if `facts` name a missing
    file, or if two label files have the same name. Raises the errors of `resolve` for a target.
    """
    for target in targets:
        resolve(target)
    try:
        files = [x for x in sorted(folder.iterdir()) if x.name.lower().endswith(suffixes())]
    except OSError as error:
        refuse([f"{folder}: {error.strerror}"])
    names = {x.name for x in files}
    used = names | {row.next for row in facts.values() if row.next}
    problems = [f"{folder}: the file {name}, which has facts, is missing" for name in facts
                if name not in names]  # fmt: skip
    problems += [
        f"{folder}: the file {name} is missing" for name in sorted(used - names - {*facts})
    ]
    if not files:
        problems.append(f"{folder}: no model file is in this folder")
    labels = {row.labels for row in facts.values() if row.labels}
    if len({path.name for path in labels}) < len(labels):
        problems.append(f"{folder}: two label files in different folders have the same name")
    refuse(problems)
    results: dict[str, Document] = {}
    copies: dict[str, Path] = {}
    skipped: dict[Path, str] = {}
    models = _model_names(files)
    for path in files:
        about = facts.get(path.name, ModelFacts())
        if not path.name.isprintable():
            skipped[path] = "the file name has characters that cannot be printed"
            continue
        try:
            named = replace(about, model=about.model or models[path])
            rows = _model_rows(path, named, targets, machine, out)
        except EllcError as error:
            skipped[path] = error.message
            continue
        stem = path.name.replace(".", "-")
        results |= {f"{stem}-{target}.json": row for target, row in rows}
        copies[path.name] = path
        if about.labels:
            copies[about.labels.name] = about.labels
    return Drafts(results, copies, skipped)


def _model_names(files: Sequence[Path]) -> dict[Path, str]:
    """Choose a name for each file; files that differ only in the suffix keep the suffix."""
    stems = [default_name(path) for path in files]
    names = {}
    for path, stem in zip(files, stems, strict=True):
        name = stem if stems.count(stem) == 1 else path.name
        names[path] = _UNNAMED.sub("_", name).lstrip("._+-")[:_LONGEST_NAME] or "model"
    return names


def _model_rows(
    path: Path, about: ModelFacts, targets: Sequence[str], machine: str, out: Path
) -> list[tuple[str, Document]]:
    """Make the results of a model file: a list of (target, result)."""
    network = counted(NetworkName(file=path))
    file = _file(path.name)
    facts: Document = {
        "model": about.model,
        "precision": about.precision or _precision(network.graph, network.report),
        "engine": "ellc",
        "input": _input(network.graph),
        "colours": about.colours or _colours(network.graph),
        "dataset": about.dataset or "unknown",
        "network": {"file": path.name},
    }
    if about.origin:
        facts["origin"] = about.origin
    trial = {
        "labels": about.labels.name if about.labels else None,
        "preprocess": about.preprocess or None,
        "drawing": about.drawing,
    }
    if given := {key: value for key, value in trial.items() if value is not None}:
        facts["try"] = given
    extra = {
        "commands": [f"ellc compile {file} --target pi3_64 -o out/pi3_64"],
        "downloads": [{"title": path.name, "file": path.name}],
    }
    rows = []
    for target in targets:
        figures = _figures(file, target)
        if target == "host" and about.data:
            figures += _accuracies(file, about, facts["colours"], network.graph, out)
        notes = [*about.notes, _note(target)]
        row = {**_board(target, machine), **facts, "figures": figures, **extra, "notes": notes}
        rows.append((target, {"format": "ellc gallery 1", **row}))
    return rows


def drafts_of_zoo(names: Sequence[str], targets: Sequence[str], machine: str) -> Drafts:
    """Make the results of networks in the zoo; raise `EllcError` for an unknown name."""
    results: dict[str, Document] = {}
    for name in names:
        network, known = find(name), facts_of_zoo()[0].get(name)
        file = f"{name}.eir"
        precisions = {row.precision for row in known.accuracies} if known else set()
        for target in targets:
            results[f"{name}-{target}.json"] = {
                "format": "ellc gallery 1",
                "model": name,
                "precision": "binary" if "binary" in precisions else "fp32",
                **_board(target, machine),
                "engine": "ellc",
                "input": list(network.input),
                "colours": known.colours if known else "rgb",
                "dataset": known.dataset if known else "unknown",
                "network": {"zoo": name},
                "prepare": [f"ellc zoo build {name} -o {file}"],
                "figures": _figures(file, target),
                "commands": [f"ellc zoo compile {name} --target pi3_64 --threads 1"],
                "notes": [f"{_note(target)} {_DRAWN}"],
            }
    return Drafts(results, {}, {})


def write_drafts(drafts: Drafts, out: Path) -> list[Path]:
    """Write the results, copy the models, and return the paths of the results."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, path in drafts.copies.items():
            if not (out / name).exists() or not (out / name).samefile(path):
                shutil.copyfile(path, out / name)
    except OSError as error:
        raise cannot_write(out, error, hint="-o names another folder") from error
    for name, document in drafts.results.items():
        write_text(out / name, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return [out / name for name in drafts.results]


# --- parts of a result ----------------------------------------------------------------------------


def _board(target: str, machine: str) -> Document:
    if target == "host":
        return {"board": machine}
    row = resolve(target)
    name = _NAMES.get(target) or row.description.partition(":")[0]
    return {"board": name, "clock_mhz": row.clock_hz // _HERTZ}


def _note(target: str) -> str:
    if target == "host":
        return _MEASURED
    board = _board(target, "")
    if not _is_modelled(target):
        return _PLANNED.format(board=board["board"])
    return _MODELLED.format(board=board["board"], mhz=board["clock_mhz"])


def _figures(file: str, target: str) -> list[Document]:
    """The figures for the sizes of the plan for a target, and for the time if it can be known."""
    explain = f"ellc explain {file} --target {target} --threads 1"
    time = {"of": "ms", "provenance": "modelled", "command": explain, "threads": 1}
    if target == "host":
        command = f"ellc bench {file} --threads 1"
        time = {"of": "ms", "provenance": "measured", "command": command, "threads": 1}
    sizes = [
        {"of": of, "provenance": "modelled", "command": explain}
        for of in ("weight_bytes", "ram_bytes")
    ]
    return [time, *sizes] if target == "host" or _is_modelled(target) else sizes


def _is_modelled(target: str) -> bool:
    return not why_not_modelled(resolve(target))


def _accuracies(
    file: str, about: ModelFacts, colours: str, graph: Graph, out: Path
) -> list[Document]:
    assert about.data is not None
    chain = f" {_file(about.next)}" if about.next else ""
    command = f"ellc evaluate {file}{chain} --data {_relative(about.data, out)}"
    if about.truth:
        command += f" --truth {_relative(about.truth, out)}"
    if about.preprocess:
        command += f" --preprocess {about.preprocess}"
    if colours in ("rgb", "bgr") and ORDER_KEY not in graph.metadata:
        command += f" --color {colours}"
    if about.evaluate:
        command += f" {about.evaluate}"
    figure = {"provenance": "measured", "command": command}
    if about.sample:
        figure["sample"] = about.sample
    return [{"of": of, **figure} for of in ACCURACIES]


def _file(name: str) -> str:
    """Quote a file name for a command, so that a leading - does not make it an option."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _relative(path: Path, folder: Path) -> str:
    """Quote a path for commands that run in `folder`."""
    return shlex.quote(os.path.relpath(path.resolve(), folder.resolve()))


def _input(graph: Graph) -> list[int]:
    (type_, *_) = graph.input_types()
    if is_picture(type_):
        size = Geometry.of(type_)
        return [size.rows, size.columns, size.channels]
    return list((type_.shape[1:] or type_.shape or (1,))[-_MOST_AXES:])


def _colours(graph: Graph) -> str:
    type_ = graph.input_types()[0]
    if not is_picture(type_):
        return "none"
    order = graph.metadata.get(ORDER_KEY, "rgb")
    return "grey" if Geometry.of(type_).channels == 1 else order


def _precision(graph: Graph, report: NetworkReport) -> str:
    """The precision of the operands of most multiply-adds."""
    macs = dict.fromkeys(PRECISIONS, 0)
    for layer, node in zip(report.layers, graph.nodes, strict=True):
        macs[_of_type(graph.types[node.inputs[0]].dtype if node.inputs else DType.F32)] += (
            layer.macs
        )
    return max(macs, key=lambda name: macs[name])


def _of_type(dtype: DType) -> str:
    match dtype:
        case DType.BIT:
            return "binary"
        case DType.I8 | DType.U8:
            return "int8"
        case _:
            return "fp32"
