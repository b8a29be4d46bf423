"""The operators of TensorFlow Lite that can be imported."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Registry
from ellc.frontends.tflite.model import TfliteNode

TFLITE = Registry[TfliteNode]("tflite")
