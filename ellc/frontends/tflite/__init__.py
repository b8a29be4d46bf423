"""Reads TensorFlow Lite files (`.tflite`) as graphs."""
