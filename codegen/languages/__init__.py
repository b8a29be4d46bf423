"""Texts of a model in generated files: literals, identifiers and comments of each language."""
