"""Compare ellc's WebAssembly modules with onnxruntime-web and TensorFlow.js in Node.

    python tests/benchmarks/web.py LAB [--only NAME] [--update-docs]

LAB is a folder with `nets/` (ONNX and TFLite files of networks with drawn weights, by the setup of
the tool that `peers.py` uses) and `web/`, in which this command has installed the packages:

    npm install onnxruntime-web @tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm

Every engine runs on one thread with SIMD; they take turns, and a time is the median of
processor time per call, which other processes do not lengthen.
Each call gets its input from JavaScript and returns its output to JavaScript. onnxruntime-web reads
the file that ellc compiles; that of an 8-bit network is made by `ellc.quantise`, or published
(ELLC_TEST_DATA). TensorFlow.js has no 8-bit layers: it gets the layers of the TFLite file of the
same network one by one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from benchmark_page import markdown_table, write_table  # noqa: E402

from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.graph import Graph, Node  # noqa: E402
from ellc.ir.ops.conv import Conv2D  # noqa: E402
from ellc.ir.ops.dense import Dense  # noqa: E402
from ellc.ir.ops.pointwise import Add, Clip, Relu  # noqa: E402
from ellc.ir.ops.pool import AvgPool2D  # noqa: E402
from ellc.ir.ops.reduce import Softmax  # noqa: E402
from ellc.ir.ops.shape import Reshape  # noqa: E402
from ellc.ir.types import Padding  # noqa: E402
from ellc.models import read_model  # noqa: E402
from ellc.progress import silent  # noqa: E402
from ellc.quantise.onnx_file import write_onnx  # noqa: E402
from ellc.quantise.quantising import Samples, prepared, quantise  # noqa: E402

ENGINES = {"ellc": "ellc", "onnxRuntime": "onnxruntime-web", "tensorFlow": "TensorFlow.js"}
ROUNDS, SLICE_MS, WARM = 15, 30, 30
_CALIBRATION_SAMPLES = 16


@dataclass(frozen=True)
class Network:
    """A network: its name in the table, and its file in `nets/` or ELLC_TEST_DATA.

    `quantised` says that ellc makes an 8-bit network of the file.
    """

    label: str
    file: str
    quantised: bool = False
    published: bool = False


NETWORKS = (
    Network("ResNet8", "resnet8_cifar"),
    Network("MobileNet V1 0.25 128", "mobilenetv1_025_128"),
    Network("MobileNet V1 0.25 224", "mobilenet_v1_0.25_224_float_tf2onnx", published=True),
    Network("ResNet8, int8", "resnet8_cifar", quantised=True),
    Network("MobileNet V1 0.25 128, int8", "mobilenetv1_025_128", quantised=True),
    Network("Visual Wake Words, int8", "mlperf_vww96_int8_qdq_tf2onnx", published=True),
)


@dataclass
class Layers:
    """The layers of a float network as TensorFlow.js computes them, and their weights."""

    steps: list[dict[str, object]] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)

    def weight(self, array: np.ndarray) -> int:
        """Add an array. Returns its index."""
        self.arrays.append(np.asarray(array, np.float32, order="C"))
        return len(self.arrays) - 1

    def description(self, path: Path) -> dict[str, object]:
        """Write all weights to a file. Returns what web.mjs reads."""
        path.write_bytes(b"".join(array.tobytes() for array in self.arrays))
        offsets = np.cumsum([0, *(array.size for array in self.arrays)]).tolist()
        arrays = [
            {"offset": offset, "shape": list(array.shape)}
            for offset, array in zip(offsets[:-1], self.arrays, strict=True)
        ]
        return {"weights": str(path), "arrays": arrays, "steps": self.steps}


def layers_of(graph: Graph) -> Layers:
    """The layers of a network in NHWC. Activations become part of the layer before them.

    Raises `ValueError` for an operator that the two kinds of networks here do not have.
    """
    made = Layers()
    constants = {c.value: graph.weights[c.key] for c in graph.constants}
    names = {graph.inputs[0].value: "input"}
    for node in graph.nodes:
        (result,) = node.outputs
        if isinstance(node.op, Relu | Clip):
            made.steps[-1]["activation"] = "relu" if isinstance(node.op, Relu) else "relu6"
            made.steps[-1]["result"] = names[result] = str(result)
            continue
        step = _step(node, graph, constants, made)
        operands = [names[x] for x in node.inputs if x in names]
        made.steps.append({**step, "operands": operands, "result": str(result)})
        names[result] = str(result)
    return made


def _step(node: Node, graph: Graph, constants: dict, made: Layers) -> dict[str, object]:
    match node.op:
        case Conv2D() as op:
            weights, bias = (constants[x] for x in node.inputs[1:])
            deep = op.groups > 1
            filter_ = made.weight(weights.transpose((1, 2, 0, 3) if deep else (1, 2, 3, 0)))
            pad = _padding(op.padding, graph.types[node.inputs[0]].shape, weights.shape, op.stride)
            kind = "depthwise" if deep else "conv"
            layer = {"filter": filter_, "bias": made.weight(bias), "strides": list(op.stride)}
            return {"kind": kind, "pad": pad, **layer}
        case Dense():
            weights, bias = (constants[x] for x in node.inputs[1:])
            return {"kind": "dense", "filter": made.weight(weights.T), "bias": made.weight(bias)}
        case Add():
            return {"kind": "add"}
        case AvgPool2D() as op if op.window == graph.types[node.inputs[0]].shape[1:3]:
            return {"kind": "mean"}
        case Reshape() as op:
            return {"kind": "reshape", "shape": list(op.shape)}
        case Softmax():
            return {"kind": "softmax"}
    raise ValueError(f"TensorFlow.js is not asked to compute {node.op}")


def _padding(
    padding: Padding, image: Sequence[int], weights: Sequence[int], stride: Sequence[int]
) -> str:
    """TensorFlow's word for a padding."""
    sides = (padding.top, padding.bottom), (padding.left, padding.right)
    if sides == ((0, 0), (0, 0)):
        return "valid"
    for side, extent, window, step in zip(sides, image[1:3], weights[1:3], stride, strict=True):
        total = max(0, (-(-extent // step) - 1) * step + window - extent)
        if side != (total // 2, total - total // 2):
            raise ValueError(f"TensorFlow has no word for {padding}")
    return "same"


@dataclass(frozen=True)
class Lab:
    """The folder with networks and packages, and the folder for the files of this run."""

    made: Path
    work: Path

    def prepared(self, network: Network) -> dict[str, object]:
        """Compile a network. Returns what web.mjs needs to know about it, and the module's size."""
        source = self._source(network)
        folder = self.work / source.stem
        compiled = compile_model(source, "wasm", CompileOptions(name="network"), folder)
        assert compiled.library is not None
        graph = read_model(source)
        (image,) = graph.input_types()
        planes = image.shape[1] == 3
        n, a, b, c = image.shape
        twin = source.with_suffix(".tflite")
        layers = None
        if not network.quantised and not network.published and twin.exists():
            layers = layers_of(read_model(twin)).description(folder / "layers.bin")
        return {
            "label": network.label,
            "module": str(folder / "network.mjs"),
            "bytes": compiled.library.stat().st_size,
            "onnx": str(source),
            "type": image.dtype.value,
            "shape": [n, b, c, a] if planes else list(image.shape),
            "planes": planes,
            "layers": layers,
            "engines": [*ENGINES][: 3 if layers else 2],
            "macs": sum(node.op.macs(*graph.node_types(node)) for node in graph.nodes),
        }

    def _source(self, network: Network) -> Path:
        if network.published:
            return Path(os.environ["ELLC_TEST_DATA"]) / "models" / f"{network.file}.onnx"
        source = self.made / "nets" / f"{network.file}.onnx"
        return self._quantised(source) if network.quantised else source

    def _quantised(self, source: Path) -> Path:
        """The network in 8 bits, calibrated with uniform pixels."""
        graph = prepared(read_model(source))
        rng = np.random.default_rng(0)
        shape = graph.input_types()[0].shape
        images = rng.uniform(-1, 1, (_CALIBRATION_SAMPLES, *shape)).astype(np.float32)
        path = self.work / f"{source.stem}_int8.onnx"
        samples = Samples(lambda: images, len(images))
        write_onnx(quantise(graph, samples, self.work / "observed", silent), path)
        return path


def markdown(networks: Sequence[dict], results: Sequence[dict]) -> str:
    """The table of all networks, with the geometric mean of the ratios."""
    rows, ratios = [], []
    for network, result in zip(networks, results, strict=True):
        times = result["ms"]
        fastest = min(ms for engine, ms in times.items() if engine != "ellc")
        ratios.append(fastest / times["ellc"])
        cells = [f"{times[engine]:.3g}" if engine in times else "" for engine in ENGINES]
        size = f"{network['bytes'] / 1024:,.0f}"
        rows.append([network["label"], f"{network['macs'] / 1e6:.1f}", size, *cells])
        rows[-1].append(f"{ratios[-1]:.2f}")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    rows.append(["**geometric mean**", *[""] * (2 + len(ENGINES)), f"{mean:.2f}"])
    first, *others = ENGINES.values()
    head = ["network", "MMAC", "module, KiB", f"{first}, ms", *others, "best other / ellc"]
    return markdown_table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("lab", type=Path)
    parser.add_argument("--only", help="only networks whose name contains this text")
    parser.add_argument("--update-docs", action="store_true", help="write the table into the docs")
    asked = parser.parse_args()
    chosen = [n for n in NETWORKS if (asked.only or "").lower() in n.label.lower()]
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(asked.lab.resolve(), Path(folder))
        task = {
            "packages": str(lab.made / "web"),
            "networks": [lab.prepared(network) for network in chosen],
            "rounds": ROUNDS,
            "slice_ms": SLICE_MS,
            "warm": WARM,
        }
        (lab.work / "task.json").write_text(json.dumps(task), encoding="utf-8")
        script = Path(__file__).with_suffix(".mjs")
        words = ["node", str(script), str(lab.work / "task.json")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        results = json.loads(done.stdout)
    for network, result in zip(task["networks"], results, strict=True):
        print(network["label"], json.dumps(result))
    table = markdown(task["networks"], results)
    print(table)
    if asked.update_docs:
        write_table("web", f"By `python tests/benchmarks/web.py LAB`.\n\n{table}")


if __name__ == "__main__":
    main()
