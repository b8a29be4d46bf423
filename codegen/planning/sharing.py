"""Shares one function among kernels that differ only in name, and one array among equal constants.

Layers with the same shapes get equal kernels. Only the first of equal kernels is compiled and takes
flash, under its own name. Its statements are put in the order that suits the core
(`kir.scheduling`).
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
    """Collects constants and replaces equal ones by one object, so that each is stored once."""

    def __init__(self) -> None:
        self._weights: dict[str, Weight] = {}

    def call(self, call: KernelCall) -> KernelCall:
        """The same call, with constants replaced by earlier ones of equal content."""
        return replace(call, args=tuple(map(self._arg, call.args)))

    def _arg(self, arg: Arg) -> Arg:
        if not isinstance(arg, WeightArg):
            return arg
        return replace(arg, weight=self._weights.setdefault(arg.weight.key, arg.weight))


class SharedKernels:
    """Collects kernels, schedules them for a core, and keeps one of equal kernels.

    Two kernels are equal if their texts before scheduling differ only in the kernels' names.
    `core` is None for the kernels of finished plans, which are scheduled already.
    """

    def __init__(self, core: Core | None = None) -> None:
        self._core = core
        self._kernels: dict[str, Kernel] = {}

    def call(self, call: KernelCall) -> KernelCall:
        """The same call, with its kernel replaced by the one that equal kernels share."""
        # The text identifies a kernel exactly, down to the sign of a zero.
        text = print_kernel(replace(call.kernel, name=""))
        if text not in self._kernels:
            core = self._core
            self._kernels[text] = call.kernel if core is None else schedule(call.kernel, core)
        return replace(call, kernel=self._kernels[text])

    def plan(self, plan: Plan) -> Plan:
        """The plan with its kernels replaced by equal ones of earlier plans.

        That saves a third of the kernels in the plans of all operators' samples.
        """
        once, steps = (
            tuple(replace(step, call=self.call(step.call)) for step in some)
            for some in (plan.once, plan.steps)
        )
        return replace(plan, once=once, steps=steps)
