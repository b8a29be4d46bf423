"""`ellc check`: compares a compiled network with the reference."""
