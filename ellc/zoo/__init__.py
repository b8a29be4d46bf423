"""Networks for experiments: published architectures with seeded weights, built in seconds.

`networks` lists the networks, `find` finds one by its name, and `build` makes its graph. The
architectures come from publications: families of networks (`families/`), two networks of Caffe
(`alexnet.py`), and pages of ELL's gallery (`gallery.json`, `plots.json`, in which inferred facts
are marked). Unless `build` gets a file of trained weights, the weights are random numbers on the
scale of trained weights. The same seed gives the same weights on every machine.
"""

from ellc.zoo.catalogue import ZooNetwork, build, find, networks

__all__ = ["ZooNetwork", "build", "find", "networks"]
