"""Networks for experiments: published architectures with seeded weights, built in seconds.

`networks` lists them, `build` builds one as a graph. The architectures are published facts:
families of networks (`families/`), the two Caffe networks, and pages of ELL's gallery
(`gallery.json`, `plots.json`; inferred facts are marked). Weights are random, not trained, but have
the scale of a trained network's; the same seed gives the same weights on every machine.
"""

from ellc.zoo.catalogue import ZooNetwork, build, find, networks

__all__ = ["ZooNetwork", "build", "find", "networks"]
