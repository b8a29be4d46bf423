"""One function for kernels that differ in nothing but their names.

Networks repeat their blocks, and layers of the same shapes get the same kernel: LLVM compiles it
once, and it takes its bytes of flash once. It keeps the name that it has in the first step.
"""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.lowering import KernelCall
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.text import print_kernel


class SharedKernels:
    """The kernels met so far, by their text without the name."""

    def __init__(self) -> None:
        self._kernels: dict[str, Kernel] = {}

    def call(self, call: KernelCall) -> KernelCall:
        """The same call, of the equal kernel that was met before if there is one."""
        # Text, not `==`: that takes 0.0 for -0.0 and 1 for 1.0.
        text = print_kernel(replace(call.kernel, name=""))
        return replace(call, kernel=self._kernels.setdefault(text, call.kernel))
