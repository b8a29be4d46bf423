"""Lets kernels that differ only in name share one function, and equal constants share one array.

Layers with the same shapes get equal kernels. Of several equal kernels, only the first is
scheduled for the core (`kir.scheduling`) and compiled, under its own name; the steps of the others
call it.
"""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.access import Weight
from ellc.codegen.blocks.calls import Arg, KernelCall, WeightArg
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Plan


class SharedWeights:
    """Collects constants, and replaces equal constants by one object that is stored once."""

    def __init__(self) -> None:
        self._weights: dict[str, Weight] = {}

    def call(self, call: KernelCall) -> KernelCall:
        """The call, with each constant replaced by an earlier equal constant if there is one."""
        return replace(call, args=tuple(map(self._arg, call.args)))

    def _arg(self, arg: Arg) -> Arg:
        if not isinstance(arg, WeightArg):
            return arg
        return replace(arg, weight=self._weights.setdefault(arg.weight.key, arg.weight))


class SharedKernels:
    """Collects kernels, schedules them for a target, and replaces equal kernels by the first.

    Two kernels are equal if their texts before scheduling differ only in the name of the kernel.
    For kernels that are already scheduled, `target` is None.
    """

    def __init__(self, target: Target | None = None) -> None:
        self._target = target
        self._kernels: dict[str, Kernel] = {}
        self._seen: dict[int, tuple[Kernel, Kernel]] = {}  # by identity, to print each only once

    def call(self, call: KernelCall) -> KernelCall:
        """The call, with its kernel replaced by the first equal kernel, scheduled if necessary."""
        if id(call.kernel) not in self._seen:
            self._seen[id(call.kernel)] = (call.kernel, self._shared(call.kernel))
        return replace(call, kernel=self._seen[id(call.kernel)][1])

    def _shared(self, kernel: Kernel) -> Kernel:
        # The text identifies a kernel exactly, including the sign of zeros.
        text = print_kernel(replace(kernel, name=""))
        if text not in self._kernels:
            target = self._target
            self._kernels[text] = kernel if target is None else schedule(kernel, target)
        return self._kernels[text]

    def plan(self, plan: Plan) -> Plan:
        """The plan, with its kernels replaced by equal kernels of earlier plans.

        In the plans for the sample graphs of all operators, this replaces a third of the kernels.
        """
        once, steps = (
            tuple(replace(step, call=self.call(step.call)) for step in part)
            for part in (plan.once, plan.steps)
        )
        return replace(plan, once=once, steps=steps)
