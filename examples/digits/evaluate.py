"""Count the held-back digits that the compiled networks and the numpy reference get right.

    python examples/digits/evaluate.py                      # this machine, all 360 digits
    python examples/digits/evaluate.py -t pi3 --images 60   # a Raspberry Pi 3, under qemu-arm

The exit status is 1 if compiled code and reference differ more than rounding explains.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from digits_data import HELD_BACK, Array, Digits, load_split

from ellc.execute import open_library
from ellc.frontends.ell.read import read_ell
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D

FOLDER = Path(__file__).resolve().parent
NETWORKS = ("digits_float", "digits_binary")
ELSEWHERE = 60  # the default for other machines, because each digit starts an emulator

# The tolerance that ellc promises for float32: |a - b| <= 1e-4 * max(|b|, 1e-2 * max|b|).
RELATIVE, OF_LARGEST = 1e-4, 1e-2

Predict = Callable[[Array], Array]


@dataclass(frozen=True)
class Outcome:
    """The results of compiled code and of the reference for the same digits.

    `differing` lists the digits whose scores differ by more than the tolerance. `explained` lists
    those of them in which a binarised value is so near 0 that rounding may change its sign.
    """

    digits: int
    compiled_right: int
    reference_right: int
    labels_differ: int
    differing: tuple[int, ...]
    explained: tuple[int, ...]

    @property
    def agree(self) -> bool:
        """Whether every difference is explained."""
        return self.differing == self.explained

    def text(self) -> str:
        """The figures in one line."""
        compiled, reference = self.compiled_right / self.digits, self.reference_right / self.digits
        return (
            f"{compiled:.2%} compiled, {reference:.2%} numpy "
            f"({self.compiled_right} and {self.reference_right} of {self.digits}); "
            f"{self.labels_differ} labels and {len(self.differing)} scores differ, "
            f"{len(self.explained)} of them by a sign too close to call"
        )


def compile_network(model: Path, target: str, folder: Path) -> Predict:
    """Compile with `ellc compile`. Returns a function that computes the scores of one digit."""
    command = [sys.executable, "-m", "ellc", "compile", model, "--target", target, "-o", folder]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    if target != "host":
        library = open_library(folder / f"lib{model.stem}.so")
        return lambda image: library.run((image,))[0][0]
    # Use the same Python module as on a board, which needs numpy and cffi but not ellc.
    spec = importlib.util.spec_from_file_location(model.stem, folder / f"{model.stem}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    predict: Predict = module.Model().predict
    return predict


def compare(graph: Graph, predict: Predict, digits: Digits) -> Outcome:
    """Classify every digit with the compiled code and with the reference."""
    images = digits.inputs[:, np.newaxis]
    compiled = np.array([predict(image)[0] for image in images])
    reference = np.array([evaluate(graph, (image,)).outputs[0][0] for image in images])
    sizes = np.maximum(np.abs(reference), OF_LARGEST * np.abs(reference).max(1, keepdims=True))
    apart = (np.abs(compiled - reference) > RELATIVE * sizes).any(axis=1)
    differing = tuple(int(i) for i in np.flatnonzero(apart))
    compiled_labels, reference_labels = compiled.argmax(axis=1), reference.argmax(axis=1)
    return Outcome(
        len(digits.labels),
        int((compiled_labels == digits.labels).sum()),
        int((reference_labels == digits.labels).sum()),
        int((compiled_labels != reference_labels).sum()),
        differing,
        tuple(i for i in differing if close_signs(graph, images[i])),
    )


def close_signs(graph: Graph, image: Array) -> int:
    """Count the binarised values that are so near 0 that rounding alone may change their signs.

    The error of a sum with n roundings is at most n eps times the sum of its terms' magnitudes, in
    any order of additions (Higham 2002, section 3.1). The sums of magnitudes are computed by
    applying the same operators to absolute values. A binary convolution has no rounding error,
    because its inputs are exact and it only counts bits.
    """
    values = evaluate(graph, (image,), keep=True).values
    sizes = {v: np.abs(a) for v, a in values.items() if a.dtype == np.float32}
    roundings = dict.fromkeys(values, 0)
    close = 0
    for node in graph.nodes:
        (result,), first = node.outputs, node.inputs[0]
        match node.op:
            case Binarize():
                # Both sides round. Folding a batch norm into weights adds one rounding.
                bound = 2 * (roundings[first] + 1) * np.finfo(np.float32).eps * sizes[first]
                close += int((np.abs(values[first]) <= bound).sum())
            case BinaryConv2D():
                pass
            case op:
                filters = graph.types[node.inputs[1]].shape if isinstance(op, Conv2D) else ()
                roundings[result] = roundings[first] + 1 + math.prod(filters[1:])
                (sizes[result],) = op.reference(*(sizes[v] for v in node.inputs))
    return close


def evaluate_network(name: str, target: str, digits: Digits) -> Outcome:
    """Compile the network `name` for a target, and compare it with the reference on `digits`."""
    model = FOLDER / f"{name}.ell"
    with tempfile.TemporaryDirectory(prefix="digits-") as folder:
        return compare(read_ell(model), compile_network(model, target, Path(folder)), digits)


def parse_arguments(words: Sequence[str]) -> tuple[str, int]:
    """Parse the command line: the target, and the number of held-back digits to classify."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-t", "--target", default="host", help="see `ellc targets`")
    parser.add_argument(
        "--images",
        type=int,
        choices=range(1, HELD_BACK + 1),
        metavar=f"1..{HELD_BACK}",
        help=f"how many digits; default: all on host, else {ELSEWHERE}",
    )
    chosen = parser.parse_args(words)
    return chosen.target, chosen.images or (HELD_BACK if chosen.target == "host" else ELSEWHERE)


def main() -> int:
    """Evaluate both networks on one target. Returns the exit status."""
    target, count = parse_arguments(sys.argv[1:])
    _, held_back = load_split()
    digits = Digits(held_back.pictures[:count], held_back.labels[:count])
    agree = True
    for name in NETWORKS:
        outcome = evaluate_network(name, target, digits)
        agree &= outcome.agree
        print(f"{name} for {target}: {outcome.text()}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
