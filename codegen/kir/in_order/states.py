"""The instruction sets that the scheduler writes."""

from __future__ import annotations

from collections.abc import Mapping

from ellc.codegen.kir.in_order.a32 import A32
from ellc.codegen.kir.in_order.a64 import A64, A64Beside
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.pipeline import loads_beside_products, pipeline_of
from ellc.codegen.machine.target import Target

ENCODINGS: Mapping[Arch, Encoding] = {"aarch64": A64(), "arm": A32()}
"""The instructions of each architecture."""
_BESIDE: Mapping[Arch, Encoding] = {"aarch64": A64Beside()}


def encoding_of(target: Target) -> Encoding | None:
    """The instructions of a target, used as its core likes them; None if there are none."""
    rows = pipeline_of(target)
    if rows is not None and loads_beside_products(rows):
        return _BESIDE.get(target.arch)
    return ENCODINGS.get(target.arch)
