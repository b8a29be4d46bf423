"""Export small networks from Keras to TensorFlow Lite, with every kind of quantisation.

    python tests/benchmarks/keras_networks.py FOLDER [--only NAME]

Run it in a separate environment with `tensorflow-cpu` and `ai-edge-litert`; ellc is not needed.
Each network is written as FOLDER/NAME.KIND.tflite for the kinds in `KINDS`. For each file,
FOLDER/NAME.KIND.tflite.npz has `input0` and `output0`, with a first axis of `SAMPLES` random inputs
and the outputs of LiteRT's reference kernels. Weights are random, not trained.
`exported_networks.py` compiles the files and compares results. Every file is made in a separate
process, since the converter of TensorFlow 2.21 crashes when it quantises a fused LSTM to integers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SAMPLES = 3
SEED = 20
KINDS = ("float", "fp16", "dynamic", "int8", "16x8")

layers = tf.keras.layers


def image_classifier() -> tf.keras.Model:
    """Separable convolutions, hard activations, a residual, squeeze and excitation."""
    x = inputs = layers.Input((32, 32, 3), batch_size=1)
    x = layers.Activation("relu6")(
        layers.BatchNormalization()(layers.Conv2D(16, 3, 2, "same", use_bias=False)(x))
    )
    y = layers.Activation("relu6")(
        layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    )
    y = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(y))
    x = layers.Add()([x, y])
    x = layers.MaxPool2D()(layers.Conv2D(24, 3, padding="same", activation="relu")(x))
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def segmentation() -> tf.keras.Model:
    """A U-Net that enlarges by transposed convolution and by interpolation."""
    x = inputs = layers.Input((24, 32, 3), batch_size=1)
    one = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    two = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(one)
    three = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(two)
    x = layers.Conv2DTranspose(16, 2, 2)(three)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Concatenate()([x, two]))
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    return tf.keras.Model(inputs, layers.Conv2D(2, 1)(layers.Concatenate()([x, one])))


def keyword_spotter() -> tf.keras.Model:
    """Depthwise separable convolutions on a spectrogram."""
    x = inputs = layers.Input((49, 10, 1), batch_size=1)
    x = layers.Conv2D(16, (10, 4), (2, 2), "same", activation="relu")(x)
    for _ in range(2):
        x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
        x = layers.Conv2D(16, 1, activation="relu")(x)
    x = layers.AveragePooling2D((25, 5))(x)
    return tf.keras.Model(inputs, layers.Dense(12)(layers.Flatten()(x)))


def recurrent(kind: type[tf.keras.layers.Layer], *, unroll: bool) -> tf.keras.Model:
    """A recurrent layer and a classifier."""
    x = inputs = layers.Input((12, 8), batch_size=1)
    return tf.keras.Model(inputs, layers.Dense(4)(kind(16, unroll=unroll)(x)))


def of_every_step(kind: type[tf.keras.layers.Layer], **given: bool) -> tf.keras.Model:
    """Two recurrent layers that return all steps, and a classifier for each step."""
    x = inputs = layers.Input((12, 8), batch_size=1)
    x = layers.Bidirectional(kind(6, return_sequences=True))(x)
    return tf.keras.Model(inputs, layers.Dense(4)(kind(10, return_sequences=True, **given)(x)))


def autoencoder() -> tf.keras.Model:
    """Dense layers that become smaller and then larger."""
    x = inputs = layers.Input((64,), batch_size=1)
    for width in (32, 8, 32):
        x = layers.Dense(width, activation="relu")(x)
    return tf.keras.Model(inputs, layers.Dense(64)(x))


NETWORKS: dict[str, Callable[[], tf.keras.Model]] = {
    "image_classifier": image_classifier,
    "segmentation": segmentation,
    "keyword_spotter": keyword_spotter,
    "keras_lstm": lambda: recurrent(layers.LSTM, unroll=False),
    "keras_lstm_unrolled": lambda: recurrent(layers.LSTM, unroll=True),
    "keras_gru": lambda: recurrent(layers.GRU, unroll=False),
    "keras_gru_unrolled": lambda: recurrent(layers.GRU, unroll=True),
    "keras_gru_steps": lambda: of_every_step(layers.GRU),
    "keras_rnn_steps": lambda: of_every_step(layers.SimpleRNN, go_backwards=True),
    "autoencoder": autoencoder,
}


def convert(model: tf.keras.Model, kind: str) -> bytes:
    """The bytes of a TensorFlow Lite file with this kind of quantisation."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "16x8"):
        converter.representative_dataset = lambda: _examples(model)
        ops = tf.lite.OpsSet
        wide = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8 if kind == "int8" else wide]
        stored = tf.int8 if kind == "int8" else tf.int16
        converter.inference_input_type = converter.inference_output_type = stored
    content: bytes = converter.convert()
    return content


def _examples(model: tf.keras.Model) -> Iterator[list[np.ndarray]]:
    rng = np.random.default_rng(SEED)
    for _ in range(40):
        yield [rng.normal(size=model.inputs[0].shape).astype(np.float32)]


def samples(content: bytes) -> dict[str, np.ndarray]:
    """Random inputs, and the outputs of the reference kernels."""
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    port, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rng = np.random.default_rng(SEED + 1)
    inputs, outputs = [], []
    for _ in range(SAMPLES):
        x = rng.normal(size=port["shape"]).astype(np.float32)
        if port["dtype"] != np.float32:
            scale, zero = port["quantization"]
            limits = np.iinfo(port["dtype"])
            x = np.clip(np.round(x / scale) + zero, limits.min, limits.max).astype(port["dtype"])
        interpreter.reset_all_variables()
        interpreter.set_tensor(port["index"], x)
        interpreter.invoke()
        inputs.append(x)
        outputs.append(interpreter.get_tensor(result["index"]))
    return {"input0": np.stack(inputs), "output0": np.stack(outputs)}


def make(name: str, kind: str, path: Path) -> None:
    """Write a file and its samples."""
    tf.keras.utils.set_random_seed(SEED)
    content = convert(NETWORKS[name](), kind)
    np.savez(f"{path}.npz", **samples(content))
    path.write_bytes(content)


def main() -> None:
    """Run the program that the module docstring describes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", help="one network")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    start = multiprocessing.get_context("fork").Process
    for name in NETWORKS:
        for kind in KINDS if asked.only in (None, name) else ():
            path = asked.folder / f"{name}.{kind}.tflite"
            process = start(target=make, args=(name, kind, path))
            process.start()
            process.join()
            print(path, "made" if not process.exitcode else f"failed ({process.exitcode})")


if __name__ == "__main__":
    main()
