"""Programs for LiteRT and ONNX Runtime run with a compiled network once an import is changed."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from small_networks import two_way_network
from tflite_files import T, TFLiteFile, options

from ellc.driver import CompileOptions, compile_model
from ellc.ir.interp import evaluate
from ellc.models import read_model

LITERT_PROGRAM = """
import argparse

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--image")
parser.add_argument("--model_file")
parser.add_argument("--label_file")
parser.add_argument("--input_mean", default=127.5, type=float)
parser.add_argument("--input_std", default=127.5, type=float)
args = parser.parse_args()

interpreter = tflite.Interpreter(model_path=args.model_file, num_threads=2)
interpreter.allocate_tensors()
input_details = interpreter.get_input_details()
output_details = interpreter.get_output_details()

floating = input_details[0]["dtype"] == np.float32
height, width = input_details[0]["shape"][1], input_details[0]["shape"][2]
img = Image.open(args.image).resize((width, height))
input_data = np.expand_dims(img, axis=0)
if floating:
    input_data = (np.float32(input_data) - args.input_mean) / args.input_std
interpreter.set_tensor(input_details[0]["index"], input_data)
interpreter.invoke()

results = np.squeeze(interpreter.get_tensor(output_details[0]["index"]))
labels = open(args.label_file).read().splitlines()
for i in results.argsort()[-5:][::-1]:
    print("{:08.6f}: {}".format(float(results[i] / 255.0), labels[i]))
print(input_details, output_details)

interpreter.tensor(input_details[0]["index"])()[...] = 7
interpreter.resize_tensor_input(input_details[0]["index"], [1, height, width, 3])
interpreter.allocate_tensors()
interpreter.set_tensor(input_details[0]["index"], input_data // 2)
interpreter.invoke()
print(interpreter.tensor(output_details[0]["index"])().tolist())

print(interpreter.get_signature_list())
classify = interpreter.get_signature_runner()
print(classify.get_input_details(), classify.get_output_details())
for name, scores in interpreter.get_signature_runner("classify")(picture=input_data).items():
    print(name, scores.dtype, scores.tolist())
"""

ONNX_PROGRAM = """
import sys

import numpy as np
from PIL import Image

options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
options.intra_op_num_threads = 2
providers = ["CPUExecutionProvider"]
session = ort.InferenceSession(sys.argv[1], sess_options=options, providers=providers)
picture, label_names = Image.open(sys.argv[2]), open(sys.argv[3]).read().splitlines()

image_input, other_input = session.get_inputs()
height, width = image_input.shape[2:]
pixels = np.asarray(picture.resize((width, height)), np.float32).transpose(2, 0, 1)[None] / 255
feed = {image_input.name: pixels, other_input.name: np.full(1, 0.5, np.float32)}
outputs = session.run(None, feed)
for i in np.argsort(-outputs[0][0])[:5]:
    print("%.3f %s" % (outputs[0][0][i], label_names[i]))

for node in (*session.get_inputs(), *session.get_outputs()):
    print(node.name, node.type, node.shape)
meta = session.get_modelmeta()
print(session.get_providers(), sorted(meta.custom_metadata_map.items()))
print(meta.producer_name, meta.graph_name, meta.version, ort.get_device())
(best,) = session.run(["best"], feed)
print(best.dtype, best.shape, best.tolist())
"""


def tflite_classifier() -> bytes:
    """A classifier of 8-bit pixels into 8 classes, with a signature `classify`."""
    rng = np.random.default_rng(5)
    file = TFLiteFile(entrances={"classify": 0})
    x = file.add(T((1, 8, 8, 3), "uint8", scale=(1 / 128,), zero=(128,), name="pixels:0"))
    w = file.add(T.of(rng.integers(0, 256, (4, 3, 3, 3)), "uint8", scale=(0.02,), zero=(120,)))
    b = file.add(T.of(rng.integers(-500, 500, 4), "int32", scale=(0.02 / 128,)))
    c = file.add(T((1, 4, 4, 4), "uint8", scale=(0.02,), zero=(3,)))
    dense = file.add(T.of(rng.integers(0, 256, (8, 64)), "uint8", scale=(0.01,), zero=(131,)))
    y = file.add(T((1, 8), "uint8", scale=(0.03,), zero=(125,), name="scores:0"))
    conv = options("Conv2DOptions", strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1)
    file.apply("CONV_2D", [x, w, b], [c], conv)
    file.apply("FULLY_CONNECTED", [c, dense, -1], [y], options("FullyConnectedOptions"))
    file.names = {"inputs": {x: "picture"}, "outputs": {y: "scores"}}
    return file.data([x], [y])


def onnx_classifier() -> bytes:
    """A classifier with NCHW floats and a factor as inputs; outputs 7 scores and the best index."""
    rng = np.random.default_rng(6)
    weights = {"w": rng.normal(size=(7, 3, 8, 8)) / 8}
    stored = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    stored.append(numpy_helper.from_array(np.array([1, 7]), "flat"))
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["r"]),
        helper.make_node("Mul", ["r", "factor"], ["m"]),
        helper.make_node("Softmax", ["m"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1),
    ]
    value, floats = helper.make_tensor_value_info, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "classifier",
        [value("image", floats, ["N", 3, 8, 8]), value("factor", floats, [1])],
        [value("scores", floats, [1, 7]), value("best", TensorProto.INT64, [1, 1])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    model.producer_name = 'tests "of" ellc'
    helper.set_model_props(model, {"names": '{0: "é"}', "stride": "32"})
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both compiled models, a picture and labels."""
    made = tmp_path_factory.mktemp("adapters")
    for name, data in (("net.tflite", tflite_classifier()), ("seen.onnx", onnx_classifier())):
        (made / name).write_bytes(data)
        compile_model(made / name, "host", CompileOptions(emit=("so", "py"), threads=2), made)
    pixels = np.random.default_rng(1).integers(0, 256, (24, 20, 3), np.uint8)
    Image.fromarray(pixels).save(made / "picture.png")
    (made / "labels.txt").write_text("\n".join(f"class {i}" for i in range(8)))
    return made


def run(folder: Path, program: str, *words: str | Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *words],
        env={**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_litert_program_changes_its_import_only(folder: Path) -> None:
    words = ["--image", "picture.png", "--model_file", "net.tflite", "--label_file", "labels.txt"]
    own = run(folder, "import ai_edge_litert.interpreter as tflite" + LITERT_PROGRAM, *words)
    assert run(folder, "import net_litert as tflite" + LITERT_PROGRAM, *words) == own
    assert "'name': 'pixels:0', 'index': 0" in own and "'quantization': (0.0078125, 128)" in own


@pytest.mark.slow
def test_an_onnx_runtime_program_changes_its_import_only(folder: Path) -> None:
    words = ("seen.onnx", "picture.png", "labels.txt")
    told = run(folder, "import seen_onnxruntime as ort" + ONNX_PROGRAM, *words)
    picture = Image.open(folder / "picture.png").resize((8, 8))
    pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255
    inputs = pixels, np.full(1, 0.5, np.float32)
    scores, best = evaluate(read_model(folder / "seen.onnx"), inputs).outputs
    places = np.argsort(-scores[0])[:5]
    assert told.splitlines() == [
        *(f"{scores[0][i]:.3f} class {i}" for i in places),
        "image tensor(float) ['N', 3, 8, 8]",
        "factor tensor(float) [1]",
        "scores tensor(float) [1, 7]",
        "best tensor(int64) [1, 1]",
        "['CPUExecutionProvider'] [('names', '{0: \"é\"}'), ('stride', '32')]",
        f'tests "of" ellc classifier {2**63 - 1} CPU',
        f"int64 (1, 1) {best.tolist()}",
    ]
    if importlib.util.find_spec("onnxruntime") is not None:
        assert run(folder, "import onnxruntime as ort" + ONNX_PROGRAM, *words) == told


LITERT_FAULTS = """
import textwrap
import numpy as np
import net_litert
from net_litert import Interpreter

open("other.tflite", "wb").write(b"other")
i = Interpreter("absent.tflite", num_threads=99, experimental_disable_delegate_clustering=True)
faults = [
    lambda: i.invoke(),
    lambda: i.allocate_tensors() or i.set_tensor(0, np.zeros((1, 8, 8, 3))),
    lambda: i.set_tensor(0, np.zeros((8, 8, 3), np.uint8)),
    lambda: i.set_tensor(5, np.zeros((1, 8), np.uint8)),
    lambda: i.get_tensor(3),
    lambda: i.resize_tensor_input(0, (4, 8, 8, 3)),
    lambda: i.get_signature_runner("other"),
    lambda: i.get_signature_runner()(image=np.zeros((1, 8, 8, 3), np.uint8)),
    lambda: Interpreter("other.tflite"),
    lambda: Interpreter(model_content=b"other"),
    lambda: Interpreter(num_threads=0),
    lambda: Interpreter(threads=1),
    lambda: Interpreter(experimental_preserve_all_tensors=True),
    lambda: net_litert.lite.experimental.load_delegate("libedgetpu.so.1"),
    lambda: net_litert.keras,
]
assert net_litert.lite.Interpreter is Interpreter
for fault in faults:
    try:
        print("no error", fault())
    except (ValueError, TypeError, AttributeError) as error:
        print(textwrap.fill(f"{type(error).__name__} {error}", 96))
"""
LITERT_SAID = """
ValueError Tensor is unallocated. Try calling allocate_tensors() first
ValueError Cannot set tensor: Got value of type float64 but expected type uint8 for input 0,
name: pixels:0
ValueError Cannot set tensor: Got shape (8, 8, 3) but expected (1, 8, 8, 3) for input 0, name:
pixels:0
ValueError tensor 5 is not an input of the compiled network net
ValueError tensor 3 is not an input or output of the compiled network net
ValueError input 'picture' was compiled for shape (1, 8, 8, 3), not (4, 8, 8, 3): compile the
model with --shape
ValueError Invalid signature_key provided: 'other'; the compiled network has 'classify'
ValueError the signature has the inputs ['picture'], not ['image']
ValueError other.tflite is not the model that net was compiled from: compile it, or import its
own module
ValueError model_content is not the model that net was compiled from: compile it, or import its
own module
ValueError num_threads should be an int >= 1, or None
TypeError net: Interpreter has no option 'threads'
ValueError net: a compiled network keeps no intermediate tensors
ValueError net: a compiled network runs without delegates, not with 'libedgetpu.so.1'
AttributeError net_litert has no 'keras': see the list in this file
"""

ONNX_FAULTS = """
import textwrap
import numpy as np
import seen_onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = 99
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
s = ort.InferenceSession(open("seen.onnx", "rb").read(), options, [("CUDAExecutionProvider", {})])
image, factor = np.zeros((1, 3, 8, 8), np.float32), np.ones(1, np.float32)
faults = [
    lambda: s.run(None, {"image": image}),
    lambda: s.run(None, {"image": image, "factor": factor, "x": image}),
    lambda: s.run(["score"], {"image": image, "factor": factor}),
    lambda: s.run(None, {"image": image.astype(np.float64), "factor": factor}),
    lambda: s.run(None, {"image": np.zeros((4, 3, 8, 8), np.float32), "factor": factor}),
    lambda: s.io_binding(),
    lambda: ort.OrtValue,
    lambda: setattr(options, "intra_op_threads", 1),
    lambda: setattr(options, "enable_profiling", True),
    lambda: options.register_custom_ops_library("x.so"),
    lambda: ort.InferenceSession("seen.onnx", providers=["cuda"]),
    lambda: ort.InferenceSession("seen.onnx", threads=1),
    lambda: ort.InferenceSession("net.tflite"),
]
for fault in faults:
    try:
        print("no error", fault())
    except (ValueError, TypeError, AttributeError) as error:
        print(textwrap.fill(f"{type(error).__name__} {error}", 96))
"""
ONNX_SAID = """
ValueError Required inputs (['factor']) are missing from input feed (['image']).
InvalidArgument Invalid input name: x
InvalidArgument Invalid output name: score
InvalidArgument Unexpected input data type for image. Actual: (float64), expected: (float32)
InvalidArgument Got invalid dimensions for input image: (4, 3, 8, 8), but it was compiled for
(1, 3, 8, 8) (compile with --shape)
AttributeError seen_onnxruntime: a compiled network has no InferenceSession.io_binding
AttributeError seen_onnxruntime has no 'OrtValue': see the list in this file
AttributeError seen_onnxruntime: SessionOptions has no 'intra_op_threads'
ValueError seen: a compiled network has no enable_profiling; `ellc profile` shows where its time
goes
AttributeError seen_onnxruntime: SessionOptions has no 'register_custom_ops_library'
ValueError seen: there is no provider 'cuda'
TypeError seen: InferenceSession has no option 'threads'
ValueError this is not the model that seen was compiled from: compile it, or import its own
module
"""


@pytest.mark.parametrize(
    ("program", "said"), [(LITERT_FAULTS, LITERT_SAID), (ONNX_FAULTS, ONNX_SAID)]
)
def test_what_a_compiled_network_cannot_do_is_said(folder: Path, program: str, said: str) -> None:
    assert run(folder, program) == said.lstrip()


def test_adapters_of_a_network_without_a_file(tmp_path: Path) -> None:
    kinds = ("so", "litert", "onnxruntime")
    made = compile_model(two_way_network(), "host", CompileOptions(emit=kinds), tmp_path)
    assert {"two.py", "two_litert.py", "two_onnxruntime.py"} <= {p.name for p in made.files}
    script = """
import numpy as np, two_litert, two_onnxruntime
i = two_litert.Interpreter(model_path="any.tflite")
i.allocate_tensors()
details = i.get_input_details() + i.get_output_details()
print([d["index"] for d in details], i.get_signature_list())
ones = np.ones(3, np.float32)
feed = {node.name: ones for node in two_onnxruntime.InferenceSession().get_inputs()}
for _ in range(2):
    [i.set_tensor(n, ones) for n in (0, 1)]
    i.invoke()
    print(i.get_tensor(2).tolist(), i.get_tensor(3).tolist())
i.reset_all_variables()
i.invoke()
first = two_onnxruntime.InferenceSession().run(None, feed)
assert all(np.array_equal(i.get_tensor(2 + n), y) for n, y in enumerate(first))
"""
    assert run(tmp_path, script).splitlines()[0] == "[0, 1, 2, 3] {}"


def test_adapters_are_python_3_7_and_belong_to_their_module(folder: Path, tmp_path: Path) -> None:
    for name in ("net_litert.py", "seen_onnxruntime.py"):
        ast.parse((folder / name).read_text(encoding="utf-8"), feature_version=(3, 7))
    (tmp_path / "net_litert.py").write_bytes((folder / "net_litert.py").read_bytes())
    (tmp_path / "net.py").write_text("HASH = 'another'\n")
    script = "try:\n    import net_litert\nexcept ImportError as error:\n    print(error)"
    assert "not from the same run of ellc" in run(tmp_path, script)


def test_the_folder_of_an_adapter_can_be_a_package(folder: Path) -> None:
    script = f"""
from {folder.name} import net, net_litert, seen_onnxruntime
i = net_litert.Interpreter("absent.tflite")
i.allocate_tensors()
i.invoke()
(first, _) = seen_onnxruntime.InferenceSession().get_inputs()
print(net_litert._network is net, first.name)
"""
    assert run(folder.parent, script) == "True image\n"
