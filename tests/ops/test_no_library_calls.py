"""No kernel calls a library function; ellc has its own code for functions that LLVM would call.

`run_trials` also checks every object for the targets on which samples run, and
`kir/test_emitters.py` checks every operation on every target.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from operator_graphs import samples
from parts import quick_part

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import require_no_calls
from ellc.codegen.output.emit import kernel_jobs, plan_kernels
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.sharing import SharedKernels
from ellc.codegen.toolchain.compile_c import compile_c
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.llvm import compile_ir
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.op import all_ops


@pytest.mark.slow
@pytest.mark.parametrize(("target", "number"), [("imxrt1050", 0), ("mcxn947", 4)])
def test_objects_need_nothing(target: str, number: int) -> None:
    row = resolve(target)
    kernels, shared = {}, SharedKernels()
    every = [sample for op in all_ops().values() for sample in samples(op)]
    for index, sample in enumerate(quick_part(every, number, 8)):
        try:
            plan = make_plan(sample.trial.graph, row, Options(), f"sample{index}")
        except EllcError as error:
            # The only exceptions are doubles on machines without double-precision instructions.
            assert error.code == "E303" and not row.scalar_f64
            continue
        kernels |= {kernel.name: kernel for kernel in plan_kernels(shared.plan(plan))}
    jobs = kernel_jobs([*kernels.values()], row)
    needed = {
        f"{job.name}: {symbol}"
        for job, data in zip(jobs, compile_ir(jobs, row), strict=True)
        for symbol in ElfFile(data).undefined
    }
    assert not needed, "\n".join(sorted(needed))


def test_a_kernel_that_calls_a_library_is_found(tmp_path: Path) -> None:
    source = tmp_path / "kernel.c"
    source.write_text("float expf(float); float f(float x) { return expf(x); }\n")
    compile_c(source, resolve("host"), (), tmp_path / "kernel.o")
    with pytest.raises(InternalError, match="expf"):
        require_no_calls([(tmp_path / "kernel.o").read_bytes()], resolve("host"))
