"""TensorFlow Lite files (`.tflite`) to graphs."""
