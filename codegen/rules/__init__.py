"""Rules of the pointwise operators, one module per family; see `codegen.pointwise`."""
