"""Decide how tensors are stored: move views and transposes, use bits for two different values."""
