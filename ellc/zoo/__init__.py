"""Networks to play with: published architectures with seeded weights, built in seconds.

`networks` lists them, `build` makes one as a graph. The architectures are facts: padded layer lists
of ELL's gallery (`gallery.json`; what is inferred is marked) and the two Caffe networks. Weights
are drawn, not trained: of a trained network's scale, the same for a seed on every machine.
"""

from ellc.zoo.catalogue import Network, build, find, networks

__all__ = ["Network", "build", "find", "networks"]
