"""Names of public inputs and outputs, and the metadata that travels with the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ellc.frontends.ell.archive import Archive, Node
from ellc.frontends.ell.ports import PortReference

# What is about the node itself: kept under the node's id instead of as the model's own.
_NODE_KEYS = ("name", "ancestor", "compileOptions")


def port_name(nodes: Mapping[str, Node], reference: PortReference, given: str) -> str:
    """The name of a public output: the node's friendly name, else the map's, else `output`.

    ELL names C arguments in this order too.
    """
    if reference.is_single:
        node = nodes.get(reference.ranges[0].node)
        friendly = node.metadata.text("name") if node is not None else ""
        if friendly:
            return friendly
    return given or "output"


def input_name(archive: Archive, node: Node) -> str:
    """The name of a public input, found the same way."""
    friendly = node.metadata.text("name")
    if friendly:
        return friendly
    given = dict(zip(archive.map.input_ids, archive.map.input_names, strict=False))
    return given.get(node.id, "") or "input"


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number after it if it is taken."""
    if name not in taken:
        return name
    return next(f"{name}_{n}" for n in range(1, len(taken) + 2) if f"{name}_{n}" not in taken)


def metadata_of(archive: Archive, notes: Iterable[str]) -> dict[str, str]:
    """All metadata as text.

    The map's and the model's own keys stay as they are, and so do those of nodes (preprocessing
    stands on the input node), first come first served; a node's name, ancestor and compile options
    go under `node.ID.`. `note.N` are remarks of the reader.
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
