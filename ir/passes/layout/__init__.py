"""Where elements lie: views, transposes, tensors of two values as bits."""
