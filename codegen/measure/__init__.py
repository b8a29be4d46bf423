"""Builds of a plan that are looked into: compared, timed, with results kept."""
