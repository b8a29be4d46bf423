"""Modelled Cortex-A53 cycles of every kernel, from the tool that ELLC_CYCLE_TOOL names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.measure.profiling import build_calls
from ellc.codegen.planning.plan import Plan


def kernel_cycles(plans: Sequence[tuple[str, Plan]], target: Target) -> dict[str, float]:
    """Cycles by kernel name in a second call: caches and predictors have seen the first.

    Exits with a message if the tool is not there or fails.
    """
    tool = os.environ.get("ELLC_CYCLE_TOOL", "")
    if not tool:
        sys.exit("ELLC_CYCLE_TOOL is not set: no modelled cycles")
    with tempfile.TemporaryDirectory(prefix="ellc-cycles-") as name:
        program, answer = Path(name) / "program", Path(name) / "answer.json"
        build_calls(plans, target, program)
        words = [sys.executable, tool, "--json", str(answer), "--roi", "forward"]
        words += ["--diff", "1", "2", *([] if target.arch == "aarch64" else ["--cpu", "max"])]
        ran = subprocess.run(
            [*words, "--", str(program), "{}"], capture_output=True, text=True, check=False
        )
        if ran.returncode or not answer.exists():
            sys.exit(f"the cycle tool failed:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        document = json.loads(answer.read_text(encoding="utf-8"))
    return {entry["name"]: float(entry["cycles"]) for entry in document["functions"]}
