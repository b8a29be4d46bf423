"""`ellc check`: a compiled network and the reference side by side, and what counts as equal."""
