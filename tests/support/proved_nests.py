"""Loop nests of kernels as scheduled functions, with what the proof needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ellc.codegen.kir.assembly import Frame, frame
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.proof.prove import problem
from ellc.codegen.kir.in_order.scheduler import MACHINES
from ellc.codegen.kir.in_order.states import encoding_of
from ellc.codegen.kir.in_order.translate import Translated, lowered, translate
from ellc.codegen.kir.ir import AssemblyFunction, For, Kernel
from ellc.codegen.kir.nests import Nest, aliases
from ellc.codegen.machine.pipeline import Issue, pipeline_of
from ellc.codegen.machine.target import Target


@dataclass(frozen=True)
class Case:
    """A nest, the function for it, and what the checker needs."""

    target: Target
    nest: Nest
    frame: Frame
    translated: Translated

    def problem(self, function: AssemblyFunction) -> str:
        """Why another function is not proved to compute the nest."""
        nest = self.nest
        rest = (function, self.translated.witnesses, MACHINES[self.target.arch])
        return problem(nest.loop, nest.results, self.frame, nest.aliases, *rest)

    @property
    def how(self) -> tuple[Encoding, Mapping[str, Issue]]:
        """The instructions of the target, and how its core issues them."""
        return how(self.target)


def how(target: Target) -> tuple[Encoding, Mapping[str, Issue]]:
    """The instructions of a target, and how its core issues them."""
    encoding, rows = encoding_of(target), pipeline_of(target)
    assert encoding is not None and rows is not None
    return encoding, rows


def translated(kernel: Kernel, target: Target) -> Case:
    """The scheduled function of a kernel that consists of one nest."""
    (loop,) = [s for s in kernel.body if isinstance(s, For)]
    nest = Nest(loop, (), aliases(kernel.in_place))
    layout = frame((loop,), (), target.word_bits)
    encoding, rows = how(target)
    nodes = lowered(loop, (), layout, nest.aliases, encoding)
    made = translate(nodes, layout, encoding, rows)
    return Case(target, nest, layout, made)
