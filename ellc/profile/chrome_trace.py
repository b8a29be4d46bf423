"""Writes a profile in the trace event format of chrome://tracing and Perfetto.

The format has only times, in microseconds. A cycle or an issue slot is written as one nanosecond;
the name of the process in the trace says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ellc.ir.files import write_text
from ellc.profile.figures import Profile

_US_PER_UNIT = {"time": 1.0, "cycles": 1e-3, "slots": 1e-3}
_PROCESS, _LAYERS, _KINDS = 1, 1, 2


def write_chrome_trace(profile: Profile, path: Path) -> None:
    """Write the trace to `path`; raises `EllcError` (E703) if the file cannot be written."""
    write_text(path, json.dumps(chrome_trace(profile), indent=1, allow_nan=False) + "\n")


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """The trace of one call.

    It has a bar for each layer, a bar for neighbouring layers of one kind, and a memory counter.
    """
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "target": profile.target,
            "costs": profile.label,
            **{f"{p.name}, median ms": p.median_ms for p in profile.phases},
        },
        "traceEvents": [*_names(profile), *_bars(profile)],
    }


def _names(profile: Profile) -> Iterator[dict[str, Any]]:
    scale = "" if profile.measure == "time" else f"; 1 {profile.one} is shown as 1 ns"
    process = f"{profile.name} for {profile.target}: {profile.label}{scale}"
    yield _named("process_name", 0, process)
    yield _named("thread_name", _LAYERS, "layers")
    yield _named("thread_name", _KINDS, "kinds")


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": _PROCESS, "tid": thread, "args": {"name": name}}


def _bars(profile: Profile) -> Iterator[dict[str, Any]]:
    factor, now = _US_PER_UNIT[profile.measure], 0.0
    kind, since = "", 0.0
    for layer in profile.layers:
        if not layer.steps:
            continue
        if layer.kind != kind and kind:
            yield _bar(kind, "kind", _KINDS, since, now - since, {})
        if layer.kind != kind:
            kind, since = layer.kind, now
        taken = layer.figures.cost * factor
        yield _counter(layer.live_bytes, now)
        known = {
            "node": f"%{layer.value}",
            "operator": layer.operator,
            "kernel": layer.kernel,
            profile.unit: layer.figures.cost,
            "share": layer.figures.share,
            "macs": layer.figures.macs,
            "of_peak": layer.figures.of_peak,
            "moved_bytes": layer.figures.moved_bytes,
            "of_memory": layer.figures.of_memory,
        }
        yield _bar(layer.name, layer.kind, _LAYERS, now, taken, known)
        now += taken
    if kind:
        yield _bar(kind, "kind", _KINDS, since, now - since, {})
    yield _counter(0, now)


def _bar(
    name: str, category: str, thread: int, start: float, taken: float, args: dict[str, Any]
) -> dict[str, Any]:
    position = {"pid": _PROCESS, "tid": thread, "ts": start, "dur": taken}
    return {"ph": "X", "name": name, "cat": category, **position, "args": args}


def _counter(live: int, at: float) -> dict[str, Any]:
    return {"ph": "C", "name": "arena", "pid": _PROCESS, "ts": at, "args": {"live bytes": live}}
