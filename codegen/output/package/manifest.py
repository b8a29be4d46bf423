"""Writes `NAME.json`, the description of a compiled network for programs and people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.output.model import ApiPort, Model
from ellc.codegen.output.package.version import PackageVersion
from ellc.codegen.planning.plan import Plan, Step
from ellc.ir.printable import visible

FORMAT = 1


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a network takes of one memory: pairs (what, bytes), and the most bytes it may take."""

    memory: str
    parts: tuple[tuple[str, int], ...]
    most_bytes: int

    @property
    def bytes(self) -> int:
        """The bytes of all parts."""
        return sum(count for _, count in self.parts)


@dataclass(frozen=True, slots=True)
class FlashUse:
    """What the flash contains, in bytes.

    `weights` are those of the model: weights and biases with the types of its file. `tables` is
    what constants take beyond that, for instance the factors of requantisations; it is negative if
    kernels read the weights in fewer bits. `code` is the rest.
    """

    weights: int
    tables: int
    code: int


@dataclass(frozen=True, slots=True)
class Costs:
    """The memory that a compiled network needs. None means that a size is unknown.

    `flash_bytes` counts code and constants, and `flash` says which. `stack_bytes` is what the
    deepest call needs on the stack of the calling thread. `memories` says how these bytes lie in
    the memories that the user named.
    """

    flash_bytes: int | None
    arena_bytes: int
    stack_bytes: int | None
    memories: tuple[MemoryUse, ...] = ()
    flash: FlashUse | None = None


def manifest(
    plan: Plan,
    model: Model,
    costs: Costs,
    version: str,
    folder: Path,
    files: Sequence[Path],
    own: PackageVersion,
) -> dict[str, object]:
    """The content of the manifest. It lists `files` with their sizes and SHA-256 hashes.

    `version` is the version of ellc, and `own` is the version of the package.
    """
    target = plan.target
    return {
        "format": FORMAT,
        "name": model.name,
        **({"version": own.text} if own.text else {}),
        "made_by": f"ellc {version}",
        "hash": model.hash,
        "abi": model.abi,
        "target": {
            "name": target.name,
            "triple": target.triple,
            "cpu": target.cpu,
            "features": sorted(target.features),
        },
        "threads": model.threads,
        "inputs": [port_entry(p) for p in model.inputs],
        "outputs": [port_entry(p) for p in model.outputs],
        "memory": {
            "flash_bytes": costs.flash_bytes,
            "weight_bytes": sum(w.bytes for w, _ in model.weights or plan.weights),
            "arena_bytes": costs.arena_bytes,
            "arena_align": model.arena_align,
            "planned_bytes": plan.arena.arena_bytes,
            "lower_bound_bytes": plan.arena.lower_bound_bytes,
            "stack_bytes": costs.stack_bytes,
            **({"memories": [_memory(use) for use in costs.memories]} if costs.memories else {}),
        },
        "states": [{"name": s.name, "bytes": s.bytes} for s in model.states],
        "init": [_step(s) for s in plan.once],
        "operators": [_step(s) for s in plan.steps],
        "macs": sum(s.macs for s in plan.steps),
        "metadata": dict(plan.graph.metadata),
        "files": {path.relative_to(folder).as_posix(): _file(path) for path in sorted(files)},
    }


def write_manifest(path: Path, document: dict[str, object]) -> None:
    """Write the manifest as JSON, with keys in the order of `document`."""
    # Control characters are escaped, because people also read the file on a terminal.
    text = visible(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False), keep="\n")
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _memory(use: MemoryUse) -> dict[str, object]:
    return {
        "name": use.memory,
        "most_bytes": use.most_bytes,
        **{f"{what}_bytes": count for what, count in use.parts},
    }


def port_entry(port: ApiPort) -> dict[str, object]:
    """What the manifest and the JavaScript module say about an input or output."""
    entry: dict[str, object] = {
        "name": port.name,
        "c_name": port.c_name,
        "type": port.dtype.value,
        "c_type": port.c_type,
        "shape": list(port.shape),
        "bytes": port.bytes,
    }
    if port.quantisation is not None:
        q = port.quantisation
        entry["quantisation"] = {
            "scale": list(q.scale),
            "zero_point": list(q.zero_point),
            "axis": q.axis,
        }
    return entry


def _step(step: Step) -> dict[str, object]:
    return {
        "kernel": step.name,
        "operator": step.op,
        "variant": step.call.note,
        "layers": list(step.source),
        "values": list(step.values),
        "parts": step.call.extent,
        "trips": 1 if step.repeat is None else step.repeat.trips,
        "macs": step.macs,
        "moved_bytes": step.moved_bytes,
    }


def _file(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
