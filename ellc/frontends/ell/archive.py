"""Typed views of an archive's maps, models, nodes and ports, for every version of the format.

`read_archive` reads a file. Its result also has the exact `ArchiveObject` that was read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ellc.frontends.ell.container import read_container
from ellc.frontends.ell.json_text import parse_json_text
from ellc.frontends.ell.metadata import PropertyBag, read_metadata
from ellc.frontends.ell.ports import PortReference, parse_port_reference, whole_port
from ellc.frontends.ell.typenames import TypeName, parse_type_name
from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.view import View
from ellc.frontends.problems import Problems
from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS, Limits

# Files from before 2018 call a map `DynamicMap` or `SteppableMap<clock>`; the fields are the same.
_MAP_TYPES = frozenset({"Map", "DynamicMap", "SteppableMap"})
_PORT_TYPE = "InputPort"


@dataclass(frozen=True, slots=True)
class InputPort:
    """An input port of a node: a reference to what it reads, and its metadata."""

    reference: PortReference
    metadata: PropertyBag = field(default_factory=PropertyBag)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node of a model. The keys of `inputs` are the field names in the archive (`input1`)."""

    id: str
    type: TypeName
    object: ArchiveObject
    path: str
    inputs: Mapping[str, InputPort]
    metadata: PropertyBag

    @property
    def label(self) -> str:
        """The name of this node in messages."""
        name = self.metadata.text("name")
        return f"node '{self.id}' ({name})" if name else f"node '{self.id}'"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The nodes of a model in the order of the file; a node refers only to earlier nodes."""

    nodes: tuple[Node, ...]
    metadata: PropertyBag
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A model with named inputs and outputs.

    If a file has a `Model` without a map, the tuples are empty, and the inputs and outputs are
    found by the types of nodes.
    """

    model: Model
    input_names: tuple[str, ...] = ()
    input_ids: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    outputs: tuple[PortReference, ...] = ()
    metadata: PropertyBag = field(default_factory=PropertyBag)


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """A whole file: its exact tree of objects, and the typed view of them."""

    root: ArchiveObject
    map: Map
    name: str
    """The file's name, or empty."""


def read_archive(
    source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS
) -> Archive:
    """Read an `.ell` or `.ell.zip` file; `source` is a path or the bytes of the file.

    Raises `EllcError`: E201 if the file is unreadable, E202 if it is not JSON, E203 if it is beyond
    the limits, E204 with all problems if it is not an archive of a model.
    """
    data, name = read_container(source, limits)
    root = parse_json_text(data, limits, name)
    if not isinstance(root, ArchiveObject):
        raise EllcError(
            "not an .ell archive: the document is not an object", code="E204", where=name
        )
    return archive_of(root, name, limits)


def archive_of(root: ArchiveObject, name: str = "", limits: Limits = DEFAULT_LIMITS) -> Archive:
    """The typed view of a tree of objects; raises `EllcError` E204 if it is not a valid model."""
    problems = Problems()
    base = parse_type_name(root.type or "").base
    if base in _MAP_TYPES or (root.type is None and "model" in root):
        map_ = _read_map(View(root, "", problems, limits))
    elif base == "Model" or (root.type is None and "nodes" in root):
        map_ = Map(_read_model(View(root, "", problems, limits)))
    else:
        raise EllcError(
            f"not an .ell archive of a model: its root is of type '{root.type}'",
            code="E204",
            where=name,
            hint="the root of an .ell file is a 'Map' or a 'Model'",
        )
    problems.raise_if_any("the archive is damaged", code="E204", where=name)
    return Archive(root, map_, name)


def _read_map(view: View) -> Map:
    child = view.child("model")
    model = Model((), PropertyBag(), "") if child is None else _read_model(child)
    references: list[PortReference] = []
    for index, text in enumerate(view.texts("outputElements")):
        try:
            references.append(parse_port_reference(text))
        except ValueError as error:
            view.bad(f"outputElements[{index}]", str(error))
    return Map(
        model,
        view.texts("inputNames"),
        view.texts("inputIds"),
        view.texts("outputNames"),
        tuple(references),
        read_metadata(view),
    )


def _read_model(view: View) -> Model:
    nodes = [_read_node(child) for child in view.children("nodes")]
    ids: set[str] = set()
    for node in nodes:
        if node.id in ids:
            view.problems.add(node.path, f"another node also has the id '{node.id}'")
        ids.add(node.id)
    return Model(tuple(nodes), read_metadata(view), view.path)


def _read_node(view: View) -> Node:
    if view.object.type is None:
        view.bad("", "a node without '_type'")
    inputs: dict[str, InputPort] = {}
    for key, value in view.object.fields:
        if isinstance(value, ArchiveObject) and _is_input_port(value):
            inputs.setdefault(key, _read_port(view.at(value, key)))
    return Node(view.text("id"), view.type, view.object, view.path, inputs, read_metadata(view))


def _is_input_port(value: ArchiveObject) -> bool:
    return parse_type_name(value.type or "").base == _PORT_TYPE


def _read_port(view: View) -> InputPort:
    text = view.text("input", default="{}")
    try:
        reference = parse_port_reference(text)
    except ValueError as error:
        view.bad("input", str(error))
        reference = whole_port("?")
    return InputPort(reference, read_metadata(view))
