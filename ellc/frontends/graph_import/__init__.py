"""What the readers of graph formats (ONNX, TFLite) share: values, handlers, one report."""
