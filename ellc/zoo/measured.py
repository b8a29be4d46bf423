"""Measures the sizes of the zoo's own networks, for comparison with published sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from ellc.inspect import NetworkReport, inspect
from ellc.ir.graph import Graph
from ellc.ir.nested import constant_types
from ellc.ir.types import DType
from ellc.zoo.catalogue import build
from ellc.zoo.facts import Size

_FILE_SHARE, _FILE_BYTES = 0.06, 48 << 10
"""The most bytes that a file may have besides its weights: a fraction of the weights' bytes, plus a
constant number of bytes."""


@dataclass(frozen=True)
class NetworkSizes:
    """The sizes of a network at full width, measured without generating weights."""

    name: str

    @cached_property
    def folded(self) -> NetworkReport:
        """The network with batch normalisation folded into its weights, as for deployment."""
        return inspect(self._graph)

    @cached_property
    def _graph(self) -> Graph:
        return build(self.name, blank=True)

    @cached_property
    def _kept(self) -> NetworkReport:
        return inspect(build(self.name, blank=True, keep_batch_norm=True))

    def parameters(self, counts: str) -> int:
        """The number of parameters; `counts` is one of `facts.COUNTS`."""
        # Only the `mul_add` layers hold the means and deviations of batch normalisation.
        untrained = sum(x.parameters for x in self._kept.layers if x.operator == "mul_add")
        match counts:
            case "all":
                return self._kept.parameters
            case "trainable":
                return self._kept.parameters - untrained
            case "weights":
                return self._kept.parameters - 2 * untrained
            case _:
                return self.folded.parameters

    @property
    def int8_bytes(self) -> int:
        """The bytes of the network if each weight takes 1 byte and each bias takes 4 bytes."""
        types = constant_types(self._graph).values()
        return sum(t.elements * (1 if t.rank > 1 else 4) for t in types)

    @property
    def is_binary(self) -> bool:
        """Whether at least one weight tensor consists of bits."""
        return any(t.dtype is DType.BIT for t in constant_types(self._graph).values())

    @property
    def memory_bytes(self) -> int:
        """The bytes of all trainable parameters: packed bits, and 4 bytes for every other one."""
        types = constant_types(self._graph).values()
        signs = sum(t.elements for t in types if t.dtype is DType.BIT)
        return signs // 8 + 4 * (self.parameters("trainable") - signs)

    @property
    def receptive_field(self) -> int:
        """The number of input rows on which a pixel of the last layer with several pixels depends.

        It is 0 if no layer has several pixels.
        """
        windowed = [
            x.field
            for x in self.folded.layers
            if x.field and len(x.output_shape) == 4 and prod(x.output_shape[1:3]) > 1
        ]
        return windowed[-1][0] if windowed else 0

    def of(self, size: Size) -> float:
        """The figure of this network that corresponds to a published size."""
        match size.of:
            case "parameters":
                return self.parameters(size.counts)
            case "macs":
                return self.folded.macs
            case "operations":
                return 2 * self.folded.macs
            case "fp32 file":
                return 4 * self.folded.parameters
            case "int8 file":
                return self.int8_bytes
            case "memory":
                return self.memory_bytes
            case _:
                return self.receptive_field

    def agrees(self, size: Size) -> bool:
        """Whether a published size agrees with that of this network, up to its last digit.

        A file may be larger than its weights, because formats also store other data. Some
        publications write MB and KB but mean MiB and KiB, so both are tried.
        """
        ours, published, step = self.of(size), size.value, size.step
        if size.of not in ("fp32 file", "int8 file"):
            return abs(ours - published) <= step / 2 * (1 + 1e-9)
        largest = ours * (1 + _FILE_SHARE) + _FILE_BYTES
        units = {"MB": (1.0, 2**20 / 10**6), "KB": (1.0, 1.024)}.get(size.published[-2:], (1.0,))
        return any(ours - step <= published * unit <= largest + step for unit in units)
