"""Builds small networks for microcontrollers: facial expressions, keywords, machine sounds."""

from __future__ import annotations

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net


def _deepface_emotion(net: Net) -> None:
    net.conv(64, 5, act="relu", norm=False)
    net.max(5, 2)
    for filters in (64, 128):
        net.conv(filters, 3, act="relu", norm=False)
        net.conv(filters, 3, act="relu", norm=False)
        net.mean(3, 2)
    net.dense(1024, "relu")
    net.dense(1024, "relu")
    net.dense(7, unscaled=True, logits=True)
    net.softmax()


def _ds_cnn(net: Net) -> None:
    net.conv(64, (10, 4), 2, "relu", bias=True)
    for _ in range(4):
        net.depthwise(3, 1, "relu", bias=True)
        net.conv(64, act="relu", bias=True)
    net.classify(12)


def _autoencoder(net: Net) -> None:
    for outputs in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        net.dense(outputs, "relu", norm=True)
    net.dense(640, unscaled=True)


def _deepface(name: str) -> Architecture:
    return Architecture(name, (48, 48, 1), "unit", "DeepFace", _deepface_emotion, pad="valid")


def _keywords(name: str) -> Architecture:
    return Architecture(
        name, (49, 10, 1), "features", "MLPerf Tiny", _ds_cnn, pad="same", epsilon=1e-3
    )


def _anomaly(name: str) -> Architecture:
    return Architecture(name, (640,), "features", "MLPerf Tiny", _autoencoder, epsilon=1e-3)


FAMILIES = (
    NetworkFamily("deepface_emotion", ("deepface_emotion",), _deepface),
    NetworkFamily("ds_cnn", ("ds_cnn",), _keywords),
    NetworkFamily("deep_autoencoder", ("deep_autoencoder",), _anomaly),
)
