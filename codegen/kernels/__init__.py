"""Kernel families: one file each, found and imported by `codegen.lowering`."""
