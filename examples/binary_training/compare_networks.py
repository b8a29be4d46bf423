"""Compare the trained networks as float, 8-bit and binary code, on the test pictures.

    python examples/binary_training/compare_networks.py [--data FILE.npz] [--folder FOLDER]
                                                        [--target pi3] [--limit N]

Needs what `train_binary.py` wrote, but not PyTorch. `ellc quantize` makes the 8-bit network from
the float one, with training pictures. The compiled code counts the right answers; for another
target it runs in qemu.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_data import load

FOLDER = Path(__file__).resolve().parent
INPUT = ("--scale", "1/255")


@dataclass(frozen=True)
class Row:
    """What one network costs on the target, and how many pictures it classifies correctly."""

    kind: str
    constant_bytes: int
    arena_bytes: int
    slots: int
    """Instructions that the kernels issue in a call, as `ellc explain` counts them."""
    right: int
    samples: int


def ellc(*words: str | Path) -> dict[str, Any]:
    """The JSON that an `ellc` command prints."""
    command = [sys.executable, "-m", "ellc", *map(str, words), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compared(kind: str, model: Path, test: Path, target: str, limit: int | None) -> Row:
    """Compile a model for a target and run it on the test pictures."""
    costs = ellc("explain", model, "--target", target)
    some = ("--limit", str(limit)) if limit else ()
    answers = ellc("evaluate", model, "--data", test, *INPUT, "--target", target, *some)
    network = answers["networks"][0]
    return Row(
        kind,
        costs["constant_bytes"],
        costs["arena_bytes"],
        costs["slots"],
        network["top1"],
        network["samples"],
    )


def rows(options: argparse.Namespace) -> list[Row]:
    """The float, 8-bit and binary networks."""
    training, test = load(options.data)
    name = options.data.stem if options.data else "digits"
    with tempfile.TemporaryDirectory() as work:
        calibration, pictures = Path(work, "train.npz"), Path(work, "test.npz")
        training.save(calibration)
        test.save(pictures)
        trained, binary = (options.folder / f"{name}_{k}" for k in ("float.onnx", "binary.ell"))
        nhwc, small = Path(work, "float.eir"), Path(work, "int8.eir")
        ellc("import", trained, "--layout", "nhwc", "-o", nhwc)
        ellc("quantize", nhwc, "--data", calibration, *INPUT, "-o", small)
        models = {"float": nhwc, "8 bits": small, "binary": binary}
        return [
            compared(kind, model, pictures, options.target, options.limit)
            for kind, model in models.items()
        ]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="x_train, y_train, x_test, y_test (.npz)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the networks are")
    parser.add_argument("--target", default="host")
    parser.add_argument("--limit", type=int, help="use only the first pictures")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Print a table."""
    print("network  constants    arena   slots  right answers")
    for row in rows(arguments(words)):
        print(
            f"{row.kind:7} {row.constant_bytes:8,} B {row.arena_bytes:6,} B {row.slots:7,}  "
            f"{row.right} of {row.samples} ({row.right / row.samples:.1%})"
        )


if __name__ == "__main__":
    main()
