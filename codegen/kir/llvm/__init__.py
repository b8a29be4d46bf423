"""Kernel IR to LLVM IR text. Modules register functions that write operations; this imports all."""

from __future__ import annotations

from ellc.codegen.kir.llvm import arithmetic, conversions, fixed_point, lanes, tables, widening
from ellc.codegen.kir.llvm.functions import llvm_module

__all__ = ["arithmetic", "conversions", "fixed_point", "lanes", "llvm_module", "tables", "widening"]
