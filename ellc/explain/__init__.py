"""`ellc explain`: shows how a network is compiled and why so, level by level."""
