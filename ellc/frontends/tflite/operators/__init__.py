"""Contains the handlers of TensorFlow Lite's operators, in one module per family."""
