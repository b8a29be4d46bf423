"""What the flash of 8-bit networks on a microcontroller contains, beside their files.

    python tests/benchmarks/flash_sizes.py MODEL .. [--target imxrt1050] [--update-docs]

Each model is compiled as `ellc compile` does it, by default and with `--optimize size`. Weights are
those of the file: weights and biases. What `size` takes beyond them is code and tables.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402

from ellc.codegen.blocks.calls import CodeGoal  # noqa: E402
from ellc.codegen.output.package.manifest import Costs  # noqa: E402
from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.work_folders import temporary_folder  # noqa: E402

KIB = 1024
HEAD = ("network", "file", "weights", "default", "default / file", "size", "code", "tables",
        "size - weights, KiB", "size - file, KiB")  # fmt: skip


def costs_of(path: Path, target: str, code: CodeGoal | None) -> Costs:
    """The costs of a model for a target."""
    with temporary_folder("flash") as folder:
        options = CompileOptions(emit=("obj",), code=code)
        return compile_model(path, target, options, folder / "out").costs


def row(path: Path, target: str) -> tuple[str, ...]:
    """The cells of a model."""
    usual, small = (costs_of(path, target, code) for code in (None, "size"))
    assert usual.flash_bytes and small.flash_bytes and small.flash
    file, weights = path.stat().st_size, small.flash.weights
    counts = (file, weights, usual.flash_bytes)
    parts = (small.flash_bytes, small.flash.code, small.flash.tables)
    over = ((small.flash_bytes - n) / KIB for n in (weights, file))
    return (
        path.stem,
        *(f"{n:,}" for n in counts),
        f"{usual.flash_bytes / file:.2f}",
        *(f"{n:,}" for n in parts),
        *(f"{n:.1f}" for n in over),
    )


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--target", default="imxrt1050")
    parser.add_argument("--update-docs", action="store_true")
    given = parser.parse_args()
    rows = []
    for path in given.models:
        rows.append(row(path, given.target))
        print(*rows[-1], flush=True)
    table = markdown_table(HEAD, rows)
    print(table)
    if given.update_docs:
        write_table("flash", f"By `python tests/benchmarks/flash_sizes.py MODEL ..`.\n\n{table}")


if __name__ == "__main__":
    main()
