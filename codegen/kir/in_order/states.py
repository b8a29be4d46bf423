"""The instruction sets that the scheduler writes."""

from __future__ import annotations

from collections.abc import Mapping

from ellc.codegen.kir.in_order.a32 import A32
from ellc.codegen.kir.in_order.a64 import A64
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.machine.core import Arch

ENCODINGS: Mapping[Arch, Encoding] = {"aarch64": A64(), "arm": A32()}
"""The instructions of each architecture."""
