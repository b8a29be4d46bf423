"""Code that the readers of ONNX and TFLite share: values, handlers, the report of problems."""
