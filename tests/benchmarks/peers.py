"""Compare ellc with other engines, on this machine and on a modelled core.

    python tests/benchmarks/peers.py LAB [--only NAME] [--no-cycles | --no-times] [--update-docs]

ELLC_PEERS_TOOL names the folder of the comparison tool, and ELLC_CYCLE_TOOL the model of the core.
LAB is the folder that the tool's setup script filled: it has `peers/` (an environment with the
engines), `nets/` (networks with random weights) and, for the modelled core, `arm64/`. 8-bit
networks are the published ones in ELLC_TEST_DATA. Times are medians on one thread, of calls in
which the engines take turns. Cycles are those of a warm call. Modelling the other engines takes an
hour, so their cycles are stored in `LAB/cycles`; without `LAB/arm64`, only the networks with stored
cycles are in that table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark_page import markdown_table, write_table  # noqa: E402
from cycles import kernel_cycles  # noqa: E402
from layer_list import model_plan  # noqa: E402

from ellc.codegen.machine.resolve import resolve  # noqa: E402
from ellc.driver import CompileOptions, compile_model  # noqa: E402
from ellc.ir.types import DType  # noqa: E402
from ellc.models import read_model  # noqa: E402

ENGINES = {
    "ncnn": "ncnn",
    "tflite": "LiteRT",
    "ort": "ONNX Runtime",
    "openvino": "OpenVINO",
    "mnn": "MNN",
}
MODELLED_ENGINES = ("ncnn", "tflite", "ort", "mnn")
"""The engines whose cycles are modelled, of a float32 network."""
TIMED_ROUNDS = 12


@dataclass(frozen=True)
class Network:
    """A network: its name in tables, its file, and, if it is an 8-bit network, an ONNX file of it.

    `file` is the name of a TFLite file, or that of one of the tool's ONNX files without `.onnx`.
    """

    label: str
    file: str
    onnx: str = ""

    @property
    def is_float(self) -> bool:
        """Whether it is a float32 network of the tool."""
        return not self.file.endswith(".tflite")

    @property
    def float_label(self) -> str:
        """The name of the float32 network with the same layers."""
        return self.label.partition(",")[0]

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that can run it."""
        if self.is_float:
            return tuple(ENGINES)
        return ("tflite", "ort") if self.onnx else ("tflite",)


NETWORKS = (
    Network("ResNet8", "resnet8_cifar"),
    Network("Visual Wake Words", "vww_mobilenetv1_025_96"),
    Network("MobileNet V1 0.25 128", "mobilenetv1_025_128"),
    Network("DeepFace", "deepface_emotion_48"),
    Network("ELL d160", "ell_d160"),
    Network("MobileNet V2 1.0 224", "mobilenetv2_100_224"),
    Network("MobileNet V1 1.0 224", "mobilenetv1_100_224"),
    Network("ResNet18 224", "resnet18_224"),
    Network("ResNet50 224", "resnet50_224"),
    Network("SqueezeNet 1.1 224", "squeezenet11_224"),
    Network("MNasNet B1 224", "mnasnet_b1_224"),
    Network("AlexNet 227", "alexnet_227"),
    Network("ResNet8, int8", "mlperf_resnet8_cifar10_int8.tflite"),
    Network(
        *("Visual Wake Words, int8", "mlperf_vww96_int8.tflite"),
        onnx="mlperf_vww96_int8_qdq_tf2onnx.onnx",
    ),
    Network("MobileNet V1 0.25 128, uint8", "mobilenet_v1_0.25_128_quant.tflite"),
    Network("MobileNet V2 1.0 224, uint8", "mobilenet_v2_1.0_224_quant.tflite"),
)


@dataclass(frozen=True)
class Ready:
    """A network whose files are where the tool expects them.

    `source` is the file that ellc compiles; `model`, whose name the tool takes, need not exist.
    """

    network: Network
    source: Path
    model: Path
    macs: int


@dataclass(frozen=True)
class Lab:
    """The folders of the tool, of its setup, and of this run."""

    tool: Path
    made: Path
    work: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment with the engines."""
        return self.made / "peers" / "bin" / "python"

    @property
    def arm_root(self) -> Path:
        """The files of a 64-bit ARM system with the engines."""
        return self.made / "arm64"

    def kept_cycles(self, network: Network) -> Path:
        """The file with the cycles of other engines."""
        return self.made / "cycles" / f"{network.file.removesuffix('.tflite')}.json"

    def prepare(self, network: Network) -> Ready:
        """Put the files of a network where the tool expects them."""
        if network.is_float:
            source = model = self.made / "nets" / f"{network.file}.onnx"
        else:
            source = Path(os.environ["ELLC_TEST_DATA"]) / "models" / network.file
            model = self._byte_files(network, source)
        macs = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))["macs"]
        return Ready(network, source, model, macs)

    def compiled(self, ready: Ready) -> str:
        """The argument of the tool's command line for ellc's library for this machine."""
        stem = ready.model.stem
        options = CompileOptions(emit=("so",), threads=1, name="network")
        made = compile_model(ready.source, "host", options, self.work / "ellc" / stem)
        layout = "" if ready.network.is_float else ":nhwc"
        return f"{stem}={made.library}:{made.name}{layout}"

    def _byte_files(self, network: Network, source: Path) -> Path:
        """Link the files of an 8-bit network under one stem, and describe it in a JSON file.

        Returns the path of the ONNX file, which may be missing.
        """
        folder = self.work / "bytes"
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / f"{source.stem}.onnx"
        links = {model.with_suffix(".tflite"): source}
        if network.onnx:
            links[model] = source.with_name(network.onnx)
        for link, file in links.items():
            link.unlink(missing_ok=True)
            link.symlink_to(file)
        graph = read_model(source)
        (taken,), (given,) = graph.input_types(), graph.output_types()
        n, h, w, c = taken.shape
        assert taken.dtype in (DType.I8, DType.U8)
        description = {
            "type": taken.dtype.numpy.name,
            "input": [n, c, h, w],
            "output": given.shape,
            "macs": sum(node.op.macs(*graph.node_types(node)) for node in graph.nodes),
            "params": sum(graph.weights[c.key].size for c in graph.constants),
        }
        model.with_suffix(".json").write_text(json.dumps(description), encoding="utf-8")
        return model

    def script(self, name: str, *, bytes_: bool) -> Path:
        """A script of the tool, with the engines for floats or for bytes beside it."""
        if not bytes_:
            return self.tool / name
        folder = self.work / "tool" / "peers"
        folder.mkdir(parents=True, exist_ok=True)
        for link, file in {
            folder / "peers.py": Path(__file__).with_name("byte_peers.py"),
            folder / "arm_cycles.py": self.tool / "arm_cycles.py",
            folder.parent / "a53": self.tool.parent / "a53",
        }.items():
            link.unlink(missing_ok=True)
            link.symlink_to(file)
        return folder / name

    def run(self, script: str, ready: Ready, engines: Sequence[str], *words: str) -> object:
        """The output of a script of the tool for a network and these engines."""
        answer = self.work / "answer.json"
        answer.unlink(missing_ok=True)
        bytes_ = not ready.network.is_float
        command = [self.python, self.script(script, bytes_=bytes_), "--models", ready.model, *words]
        command += ["--work", self.work, "--peers", ",".join(engines), "--json", answer]
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, "ARM_SYSROOT": str(self.arm_root)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not answer.exists():
            sys.exit(f"{script} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(answer.read_text(encoding="utf-8"))


def times_ms(lab: Lab, network: Network) -> tuple[Ready, dict[str, float]]:
    """The median milliseconds of a call on this machine, by engine."""
    ready = lab.prepare(network)
    words = ("--ellc", lab.compiled(ready), "--rounds", str(TIMED_ROUNDS))
    document = lab.run("peers.py", ready, network.engines, *words)
    assert isinstance(document, dict)
    return ready, _by_engine(network, document["results"][0]["rows"], "med_ms")


def megacycles(lab: Lab, network: Network) -> tuple[Ready, dict[str, float]]:
    """Millions of modelled Cortex-A53 cycles of a warm call, by engine."""
    ready = lab.prepare(network)
    kept = lab.kept_cycles(network)
    if not kept.exists():
        engines = MODELLED_ENGINES if network.is_float else network.engines
        rows = lab.run("arm_cycles.py", ready, engines)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(rows), encoding="utf-8")
    target = resolve("pi3_64")
    prefix, plan, _ = model_plan(ready.source, target)
    ours = {"peer": "ellc", "cycles": sum(kernel_cycles([(prefix, plan)], target).values())}
    found = _by_engine(network, [*json.loads(kept.read_text(encoding="utf-8")), ours], "cycles")
    return ready, {engine: cycles / 1e6 for engine, cycles in found.items()}


def _by_engine(
    network: Network, rows: Sequence[Mapping[str, object]], key: str
) -> dict[str, float]:
    found = {}
    for row in rows:
        engine = str(row["peer"])
        if "error" not in row:
            found[engine] = float(str(row[key]))
        elif engine in network.engines:  # the tool runs ONNX Runtime even if it is not requested
            print(f"{network.label}: {engine}: {row['error']}", file=sys.stderr)
    if "ellc" not in found:
        sys.exit(f"{network.label}: no figure for ellc")
    return found


def markdown(results: Sequence[tuple[Ready, dict[str, float]]], unit: str) -> str:
    """A table; its last columns divide the best other engine's figure by ellc's, and ellc's own
    figure of the float32 network by that of an 8-bit network.
    """
    own = {ready.network.label: found["ellc"] for ready, found in results}
    engines = [e for e in ENGINES if any(e in found for _, found in results)]
    names = [ENGINES[engine] for engine in engines]
    head = ("network", "MMAC", f"ellc, {unit}", *names, "best other / ellc", "own floats / ellc")
    rows, ratios = [], []
    for ready, found in results:
        others = [value for name, value in found.items() if name != "ellc"]
        cells = [f"{found[name]:.3g}" if name in found else "" for name in ("ellc", *engines)]
        ratio = min(others) / found["ellc"] if others else None
        if ratio is not None and ready.network.is_float:
            ratios.append(ratio)
        shown = "" if ratio is None else f"{ratio:.2f}"
        network = ready.network
        floats = None if network.is_float else own.get(network.float_label)
        gain = "" if floats is None else f"{floats / found['ellc']:.2f}"
        rows.append((network.label, f"{ready.macs / 1e6:.1f}", *cells, shown, gain))
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        empty = [""] * (len(engines) + 2)
        rows.append(("**geometric mean, floats**", *empty, f"{mean:.2f}", ""))
    return markdown_table(head, rows)


def host_vectors() -> str:
    """The vector instructions of this machine, which decide how engines compare."""
    return {64: "avx512", 32: "avx2"}.get(resolve("host").vector_bytes, "other")


def main() -> None:
    """Measure everything that is available; print the tables, and write them if requested."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lab", type=Path)
    parser.add_argument("--only", default="", help="networks whose name contains this")
    skipped = parser.add_mutually_exclusive_group()
    skipped.add_argument("--no-cycles", action="store_true", help="only times on this machine")
    skipped.add_argument("--no-times", action="store_true", help="only modelled cycles")
    parser.add_argument("--update-docs", action="store_true")
    given = parser.parse_args()
    if missing := [v for v in ("ELLC_PEERS_TOOL", "ELLC_TEST_DATA") if not os.environ.get(v)]:
        sys.exit(f"{' and '.join(missing)} not set: no comparison")
    chosen = [network for network in NETWORKS if given.only in network.label]
    with tempfile.TemporaryDirectory(prefix="ellc-peers-") as name:
        lab = Lab(Path(os.environ["ELLC_PEERS_TOOL"]).resolve(), given.lab.resolve(), Path(name))
        tables = {}
        if not given.no_times:
            times = [times_ms(lab, network) for network in chosen]
            tables[f"peers host {host_vectors()}"] = markdown(times, "ms")
        if not given.no_cycles:
            known = [n for n in chosen if lab.arm_root.is_dir() or lab.kept_cycles(n).exists()]
            cycles = [megacycles(lab, network) for network in known]
            tables["peers pi3_64"] = markdown(cycles, "M cycles")
    for what, table in tables.items():
        print(f"\n{what}\n\n{table}")
        if given.update_docs:
            write_table(what, f"By `python tests/benchmarks/peers.py LAB`.\n\n{table}")


if __name__ == "__main__":
    main()
