"""Builds of a plan for measuring: results are compared, steps are timed or their results kept."""
