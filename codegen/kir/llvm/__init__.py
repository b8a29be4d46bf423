"""Translates kernel IR to LLVM IR. Importing this registers all functions that write operations."""

from __future__ import annotations

from ellc.codegen.kir.llvm import arithmetic, conversions, fixed_point, lanes, tables, widening
from ellc.codegen.kir.llvm.functions import llvm_module

__all__ = ["arithmetic", "conversions", "fixed_point", "lanes", "llvm_module", "tables", "widening"]
