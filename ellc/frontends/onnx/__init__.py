"""ONNX files (`.onnx`) to graphs."""
