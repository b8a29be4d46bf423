"""Measure the accuracy of compiled networks on labelled pictures, and compare with references.

    python tests/benchmarks/accuracy.py [--only NAME] [--update-docs]

ELLC_TEST_DATA must name the folder of data. Networks are compiled for this machine and called
through their Python module. Float networks, and quantised ONNX networks, must have the accuracy
that the README of the data states for their runtime. Quantised TFLite networks are compared with
TFLite's reference kernels, for which ai-edge-litert must be installed. The number of correct
pictures may differ by one of 300, and by three of 2,000 or 5,000. The exit code is 1 if it differs
by more for any network, or if there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import labelled_data as data  # noqa: E402
from benchmark_page import markdown_table, write_table  # noqa: E402

from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.types import Array  # noqa: E402

Predict = Callable[[Array], Array]


@dataclass(frozen=True)
class Subject:
    """A network, or a chain of several networks.

    `published` has the numbers of pictures that its own runtime has right, for top-1 and, if
    known, top-5; if it is empty, TFLite's reference kernels are run. With `background`, the first
    class is the background.
    """

    models: tuple[str, ...]
    pictures: Callable[[Path, int, Callable[[Array], Array]], data.Labelled]
    prepare: Callable[[Array], Array]
    published: tuple[int, ...] = ()
    size: int = 224
    background: bool = False

    @property
    def name(self) -> str:
        """The name in tables."""
        return " + ".join(self.models)


CIFAR, MNIST, IMAGENET = data.cifar10, data.mnist, data.imagenet

SUBJECTS = (
    Subject(("mlperf_resnet8_cifar10_float.tflite",), CIFAR, data.plain_float, (1528,)),
    Subject(("mlperf_resnet8_cifar10_int8.tflite",), CIFAR, data.signed),
    Subject(("mnist-8.onnx",), MNIST, data.planes, (4915,)),
    Subject(
        *(("mobilenet_v1_0.25_224_float.tflite",), IMAGENET, data.unit_float, (162, 237)),
        background=True,
    ),
    Subject(
        *(("mobilenet_v1_0.25_224_float_tf2onnx.onnx",), IMAGENET, data.unit_float, (162, 237)),
        background=True,
    ),
    Subject(
        *(("mobilenet_v2_1.0_224_float_dequantized.onnx",), IMAGENET, data.raw, (258, 291)),
        background=True,
    ),
    Subject(("mobilenet_v2_quant_qlinear.onnx",), IMAGENET, data.normalised_planes, (191, 276)),
    Subject(("mobilenet_v1_0.25_128_quant.tflite",), IMAGENET, data.raw, size=128, background=True),
    Subject(("mobilenet_v1_0.25_224_quant.tflite",), IMAGENET, data.raw, background=True),
    Subject(
        ("mobilenet_v1_1.0_224_quant_features.tflite", "mobilenet_v1_1.0_224_quant_head.tflite"),
        *(IMAGENET, data.raw),
        background=True,
    ),
    Subject(("mobilenet_v2_1.0_224_quant.tflite",), IMAGENET, data.raw, background=True),
    Subject(("mobilenet_v2_1.0_224_ptq_perchannel.tflite",), IMAGENET, data.raw, background=True),
)


@dataclass(frozen=True)
class Measured:
    """The numbers of top-1 and top-5 correct pictures, of ellc and of the reference.

    `same` is the number of pictures with equal outputs, if the outputs of the reference are known.
    """

    subject: Subject
    pictures: int
    here: tuple[int, int]
    reference: tuple[int, ...]
    same: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether there is a reference, and all differences are within the tolerance."""
        allowed = 1 if self.pictures <= 300 else 3
        pairs = list(zip(self.here, self.reference, strict=False))
        return bool(pairs) and all(abs(a - b) <= allowed for a, b in pairs)


def measure(subject: Subject, folder: Path) -> Measured:
    """Compile a network, run it on all pictures, and compare."""
    labelled = subject.pictures(folder / "datasets", subject.size, subject.prepare)
    paths = [folder / "models" / name for name in subject.models]
    with tempfile.TemporaryDirectory(prefix="ellc-accuracy-") as name:
        answers = _chained([_compiled(path, Path(name)) for path in paths], labelled.inputs)
    classes = labelled.classes + subject.background
    here, count = (_right(answers, classes, 1), _right(answers, classes, 5)), len(classes)
    if subject.published:
        return Measured(subject, count, here, subject.published)
    wanted = _reference_answers(paths, labelled.inputs)
    if wanted is None:
        return Measured(subject, count, here, ())
    same = int((answers == wanted).all(axis=1).sum())
    reference = (_right(wanted, classes, 1), _right(wanted, classes, 5))
    return Measured(subject, count, here, reference, same)


def _chained(networks: Sequence[Predict], inputs: Array) -> Array:
    """The outputs of the last network for every picture, [n, classes]."""
    answers = []
    for picture in inputs:
        value = picture[np.newaxis]
        for predict in networks:
            value = predict(value)
        answers.append(value.ravel())
    return np.stack(answers)


def _right(answers: Array, classes: Array, among: int) -> int:
    """The number of pictures whose class is among the `among` best; equal scores rank by class."""
    best = np.argsort(-answers.astype(np.float64), axis=1, kind="stable")[:, :among]
    return int((best == classes[:, np.newaxis]).any(axis=1).sum())


def _compiled(path: Path, folder: Path) -> Predict:
    name = f"m{len(list(folder.iterdir()))}"
    options = CompileOptions(emit=("so", "py"), threads=1, name=name)
    compile_model(path, "host", options, folder / name)
    spec = importlib.util.spec_from_file_location(name, folder / name / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    predict: Predict = module.Model().predict
    return predict


def _reference_answers(paths: Sequence[Path], inputs: Array) -> Array | None:
    """The outputs of TFLite's reference kernels; None if they are not installed."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    return _chained([_reference(path) for path in paths], inputs)


def _reference(path: Path) -> Predict:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels: Any = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]["index"]
    given = interpreter.get_output_details()[0]["index"]

    def predict(value: Array) -> Array:
        interpreter.set_tensor(taken, value)
        interpreter.invoke()
        result: Array = interpreter.get_tensor(given)
        return result

    return predict


def markdown(results: Sequence[Measured]) -> str:
    """The table of results."""
    head = ("network", "pictures", "first", "first, reference", "of five", "of five, reference")
    return markdown_table((*head, "identical answers"), [_cells(result) for result in results])


def _cells(result: Measured) -> list[str]:
    def share(count: int) -> str:
        return f"{count} ({count / result.pictures:.1%})"

    several = result.subject.pictures is IMAGENET
    first, *more = [share(count) for count in result.reference] or ["not run"]
    return [
        *(f"`{result.subject.name}`", f"{result.pictures}", share(result.here[0]), first),
        *((share(result.here[1]), more[0] if more else "") if several else ("", "")),
        "" if result.same is None else f"{result.same}",
    ]


def main() -> None:
    """Measure and print the results; sets the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--update-docs", action="store_true")
    given = parser.parse_args()
    if not os.environ.get("ELLC_TEST_DATA"):
        sys.exit("ELLC_TEST_DATA is not set: no pictures")
    folder = Path(os.environ["ELLC_TEST_DATA"])
    results = []
    for subject in SUBJECTS:
        if given.only in subject.name:
            results.append(measure(subject, folder))
            print("agrees" if results[-1].agrees else "DIFFERS", _cells(results[-1]), flush=True)
    print(markdown(results))
    if given.update_docs:
        write_table("accuracy", f"By `python tests/benchmarks/accuracy.py`.\n\n{markdown(results)}")
    sys.exit(0 if all(result.agrees for result in results) else 1)


if __name__ == "__main__":
    main()
