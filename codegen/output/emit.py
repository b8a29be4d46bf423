"""Compiles the kernels of a plan in modules, and prepares its constants for one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ellc.codegen.blocks.access import Weight
from ellc.codegen.kir.assembly import assembly_text
from ellc.codegen.kir.ir import Kernel, walk
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Plan
from ellc.codegen.toolchain.assemble import assemble
from ellc.codegen.toolchain.elf import Deferred, Piece
from ellc.codegen.toolchain.llvm import Compiled, EmitKind, IrJob, LlvmPool, usable_cores

MODULE_STATEMENTS = 1500
"""A module of several kernels contains at most this many statements of kernel IR. The number is
small enough that all cores finish at about the same time, and large enough that the start-up time
of a module does not matter. It must not depend on this machine, because the bytes of the objects
depend on it.

`tests/benchmarks/module_sizes.py` gives the seconds until the last of eight cores is ready. For an
8-bit MobileNet V2, with modules of 400, 1500, 3000, 6000 and 12000 statements, they are 0.37, 0.41,
0.43, 0.48 and 0.76 for pi3_64, and 0.43, 0.42, 0.45, 0.62 and 0.91 for x86-64 with AVX-512."""


def plan_kernels(plan: Plan) -> list[Kernel]:
    """Every kernel of a plan once. The kernels of `init` come first."""
    kernels = [step.call.kernel for step in (*plan.once, *plan.steps)]
    return [*{kernel.name: kernel for kernel in kernels}.values()]


def kernel_groups(kernels: Sequence[Kernel]) -> Iterator[list[Kernel]]:
    """The kernels in order, grouped into modules of at most `MODULE_STATEMENTS` statements.

    A kernel with more statements is alone in its module.
    """
    group: list[Kernel] = []
    size = 0
    for kernel in kernels:
        statements = sum(1 for _ in walk(kernel.body))
        if group and size + statements > MODULE_STATEMENTS:
            yield group
            group, size = [], 0
        group.append(kernel)
        size += statements
    if group:
        yield group


def kernel_jobs(
    kernels: Sequence[Kernel], target: Target, emit: EmitKind = EmitKind.OBJECT
) -> list[IrJob]:
    """The jobs that compile modules which together define all kernels."""
    return [
        IrJob(f"{group[0].name}..{group[-1].name}", llvm_module(group, target), emit)
        for group in kernel_groups(kernels)
    ]


def compile_kernels(kernels: Sequence[Kernel], target: Target) -> list[Compiled]:
    """The objects that together define all kernels and the assembly functions that they call."""
    jobs = kernel_jobs(kernels, target)
    if not jobs:
        return []
    with LlvmPool(min(len(jobs), usable_cores())) as pool:
        compiled = pool.compile_measured(jobs, target)
    return [*compiled, *_assembled(kernels, target)]


def _assembled(kernels: Sequence[Kernel], target: Target) -> list[Compiled]:
    """The object of the assembly functions, if there are any."""
    text = assembly_text(kernels, target)
    if not text:
        return []
    return [Compiled(assemble(text, target), {})]


def weight_pieces(weights: Sequence[tuple[Weight, int]], target: Target) -> list[Piece]:
    """The constants as pieces of one object. Each is computed only when it is written."""
    return [Piece(target.constant_align_bytes, _deferred(weight)) for weight, _ in weights]


def _deferred(weight: Weight) -> Deferred:
    return Deferred(weight.bytes, lambda: np.asarray(weight.array(), order="C").reshape(-1).data)
