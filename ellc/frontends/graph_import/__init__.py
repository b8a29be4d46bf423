"""Code that the readers of graph formats (ONNX, TFLite) share: values, handlers, problem report."""
