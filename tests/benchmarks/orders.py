"""Compare orders of instructions on a core that ellc's model of pipelines knows.

    python tests/benchmarks/orders.py [--target imx93]

For the inner loops of register tiles and of depthwise layers, it prints the multiply-adds of a trip
and its cycles by ellc's own model (`codegen/machine/pipeline.py`): in LLVM's order for the core, in
the order of the kernel, and in the function that ellc schedules, if there is one. Memory answers
from the first-level cache. No model of another author and no hardware is asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(Path(__file__).parent)]

from layer_list import Layer  # noqa: E402
from listed_loops import innermost_loops, products  # noqa: E402
from tiles import Tile  # noqa: E402

from ellc.codegen.blocks.calls import Options  # noqa: E402
from ellc.codegen.kir.assembly import assembly_text  # noqa: E402
from ellc.codegen.kir.ir import Kernel  # noqa: E402
from ellc.codegen.kir.llvm.functions import llvm_module  # noqa: E402
from ellc.codegen.kir.scheduling import schedule  # noqa: E402
from ellc.codegen.machine.pipeline import Issue, loop_cycles, pipeline_of  # noqa: E402
from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.codegen.machine.target import Target  # noqa: E402
from ellc.codegen.planning.planner import make_plan  # noqa: E402
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, compile_ir  # noqa: E402
from ellc.ir.pipeline import run_pipeline  # noqa: E402

TILES = {
    f"{rows}x{4 * vectors}": Tile(rows, vectors)
    for rows, vectors in ((8, 2), (7, 2), (6, 2), (4, 4))
}
DEPTHWISE = {
    "depthwise 3x3": Layer(3, 64, 64, 28, groups=64),
    "depthwise 3x3, stride 2": Layer(3, 64, 64, 28, groups=64, stride=2),
    "depthwise 5x5": Layer(5, 64, 64, 28, groups=64),
}


def kernels(target: Target) -> Iterator[tuple[str, Kernel]]:
    """The compared kernels, before they are scheduled."""
    yield from ((name, tile.kernel()) for name, tile in TILES.items())
    unscheduled = replace(target, core=replace(target.core, scheduler=""))
    for name, layer in DEPTHWISE.items():
        graph, _ = run_pipeline(layer.graph())
        plan = make_plan(graph, unscheduled, Options(), "layer")
        yield name, max((s for s in plan.steps if s.macs), key=lambda s: s.macs or 0).call.kernel


def listings(kernel: Kernel, target: Target) -> Sequence[str]:
    """The kernel in assembly: in LLVM's order, in its own order, and scheduled by ellc."""
    orders = []
    for as_written in (False, True):
        core = replace(target.core, as_written=as_written)
        job = IrJob(kernel.name, llvm_module([kernel], target), EmitKind.ASM)
        orders.append(compile_ir([job], replace(target, core=core))[0].decode())
    return (*orders, assembly_text([schedule(kernel, target)], target))


def longest(listing: str, rows: Mapping[str, Issue]) -> tuple[int, int] | None:
    """The multiply-adds and the cycles of the innermost loop with the most multiply-adds."""
    loops = [loop for loop in innermost_loops(listing) if products(loop)]
    if not loops:
        return None
    body = max(loops, key=products)
    return products(body), loop_cycles(body, rows)


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="imx93")
    target = resolve(parser.parse_args().target)
    rows = pipeline_of(target)
    if rows is None or target.arch != "aarch64":
        sys.exit(f"there is no model of the pipeline of {target.cpu} in 64-bit code")
    print(f"{'loop':24} {'order':10} {'multiply-adds':>13} {'cycles':>7} {'MAC/cycle':>10}")
    for name, kernel in kernels(target):
        for order, listing in zip(
            ("LLVM", "kernel", "scheduled"), listings(kernel, target), strict=True
        ):
            if found := longest(listing, rows):
                count, cycles = found
                print(f"{name:24} {order:10} {count:13} {cycles:7} {4 * count / cycles:10.2f}")


if __name__ == "__main__":
    main()
