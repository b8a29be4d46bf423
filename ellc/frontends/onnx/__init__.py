"""Reads ONNX files (`.onnx`) as graphs."""
