"""Move arithmetic into weights, activations and padding."""
