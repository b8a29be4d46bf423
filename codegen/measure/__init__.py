"""Builds and runs plans for tests and measurements: compares results, times steps, keeps values."""
