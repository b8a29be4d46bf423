"""Text of a model in generated files: literals and identifiers of each language, templates."""
