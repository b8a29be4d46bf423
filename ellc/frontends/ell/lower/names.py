"""Chooses the names of public inputs and outputs, and collects the metadata of the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ellc.frontends.ell.archive import Archive, Node
from ellc.frontends.ell.ports import PortReference

# Metadata about the node itself. Its keys get the node's id as a prefix.
_NODE_KEYS = ("name", "ancestor", "compileOptions")


def port_name(nodes: Mapping[str, Node], reference: PortReference, given: str) -> str:
    """The name of a public output: the `name` in the node's metadata, else `given`, else `output`.

    `given` is the name in the map. ELL has the same order of preference for the names of C
    arguments.
    """
    if reference.is_single:
        node = nodes.get(reference.ranges[0].node)
        friendly = node.metadata.text("name") if node is not None else ""
        if friendly:
            return friendly
    return given or "output"


def input_name(archive: Archive, node: Node) -> str:
    """The name of a public input: as in the node's metadata, else as in the map, else `input`."""
    friendly = node.metadata.text("name")
    if friendly:
        return friendly
    given = dict(zip(archive.map.input_ids, archive.map.input_names, strict=False))
    return given.get(node.id, "") or "input"


def unique_name(name: str, used: Collection[str]) -> str:
    """The name, with a number appended if it is in `used`."""
    if name not in used:
        return name
    return next(f"{name}_{n}" for n in range(1, len(used) + 2) if f"{name}_{n}" not in used)


def metadata_of(archive: Archive, notes: Iterable[str]) -> dict[str, str]:
    """The archive's metadata as text, and the reader's notes under the keys `note.N`.

    The metadata of the map, the model and the nodes are collected in one dictionary, under the keys
    that they have in the archive. For example, the keys about preprocessing come from the input
    node. If a key occurs several times, the first value is used. The keys of a node's name,
    ancestor and compile options get the prefix `node.ID.`.
    """
    entries: dict[str, str] = {}
    for bag in (archive.map.metadata, archive.map.model.metadata):
        for key, value in bag.flat():
            entries.setdefault(key, value)
    for node in archive.map.model.nodes:
        for key, value in node.metadata.flat():
            own = key.split(".", 1)[0] in _NODE_KEYS
            entries.setdefault(f"node.{node.id}.{key}" if own else key, value)
    for index, note in enumerate(notes):
        entries[f"note.{index}"] = note
    return entries
