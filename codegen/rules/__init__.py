"""Rules of the pointwise operators, one module per family; see `ellc.codegen.pointwise`."""
