"""One function for kernels that differ in nothing but their names, one array for equal constants.

Networks repeat their blocks, and layers of the same shapes get the same kernel: LLVM compiles it
once, and it takes its bytes of flash once. It keeps the name that it has in the first step. What is
shared is in the order that suits the core (`kir.scheduling`).
"""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.access import Weight
from ellc.codegen.blocks.calls import Arg, KernelCall, WeightArg
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.machine.core import Core
from ellc.codegen.planning.plan import Plan


class SharedWeights:
    """All constants so far: equal ones are one object, so that memory holds each once."""

    def __init__(self) -> None:
        self._weights: dict[str, Weight] = {}

    def call(self, call: KernelCall) -> KernelCall:
        """The same call, with the first constant of each content."""
        return replace(call, args=tuple(map(self._arg, call.args)))

    def _arg(self, arg: Arg) -> Arg:
        if not isinstance(arg, WeightArg):
            return arg
        return replace(arg, weight=self._weights.setdefault(arg.weight.key, arg.weight))


class SharedKernels:
    """All kernels so far, scheduled for a core; equal kernels are kept once.

    They are found by their text, without the name, as it was before scheduling. Without a core they
    are not scheduled (in plans they already are).
    """

    def __init__(self, core: Core | None = None) -> None:
        self._core = core
        self._kernels: dict[str, Kernel] = {}

    def call(self, call: KernelCall) -> KernelCall:
        """The same call, of an equal earlier kernel if there is one."""
        # Text, not `==`: that takes 0.0 for -0.0 and 1 for 1.0.
        text = print_kernel(replace(call.kernel, name=""))
        if text not in self._kernels:
            core = self._core
            self._kernels[text] = call.kernel if core is None else schedule(call.kernel, core)
        return replace(call, kernel=self._kernels[text])

    def plan(self, plan: Plan) -> Plan:
        """The plan with its kernels replaced by equal ones of earlier plans.

        Of the plans of all operators' samples a third of the kernels are equal.
        """
        once, steps = (
            tuple(replace(step, call=self.call(step.call)) for step in some)
            for some in (plan.once, plan.steps)
        )
        return replace(plan, once=once, steps=steps)
