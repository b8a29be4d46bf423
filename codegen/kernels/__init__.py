"""Kernel families: one file each, found and imported by `ellc.codegen.lowering`."""
