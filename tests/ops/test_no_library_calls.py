"""No kernel of any operator calls a library: what LLVM would take from one is code of our own."""

from __future__ import annotations

import pytest
from operator_graphs import samples

from codegen.emit import kernel_jobs, plan_kernels
from codegen.lowering import Options
from codegen.plan import make_plan
from codegen.targets import resolve
from codegen.toolchain.elf_reader import ElfFile
from codegen.toolchain.llvm import compile_ir
from ir.errors import EllcError
from ir.op import all_ops


@pytest.mark.slow
@pytest.mark.parametrize("target", ["host", "pi0", "pi3", "pi3_64", "imxrt1050", "mcxn947"])
def test_objects_need_nothing(target: str) -> None:
    row = resolve(target)
    kernels = []
    for name, op in all_ops().items():
        for number, sample in enumerate(samples(op)):
            try:
                plan = make_plan(sample.trial.graph, row, Options(), f"{name}{number}")
            except EllcError as error:
                # The only excuse: doubles where the machine has none.
                assert error.code == "E303" and not row.scalar_f64
                continue
            kernels += plan_kernels(plan)
    jobs = kernel_jobs(kernels, row)
    needed = {
        f"{job.name}: {symbol}"
        for job, data in zip(jobs, compile_ir(jobs, row), strict=True)
        for symbol in ElfFile(data).undefined
    }
    assert not needed, "\n".join(sorted(needed))
