"""Broadcasting of both operands: see `ellc.frontends.graph_import.broadcast`."""

from ellc.frontends.graph_import.broadcast import common_shape, expanded, pointwise

__all__ = ["common_shape", "expanded", "pointwise"]
