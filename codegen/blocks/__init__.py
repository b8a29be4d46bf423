"""Parts that kernel families share: operands, windows, walks, epilogues, pointwise operators."""
