"""Published facts about the zoo's networks: one TOML file for each network, and `sources.toml`.

The figures of ELL's gallery are in `gallery.json`. Every figure has its source. To add a network's
facts, add a file `NAME.toml`:

    dataset = "CIFAR-10"            # the training data
    colours = "rgb"                 # rgb, bgr, grey, or none
    origin = "MLPerf Tiny"
    notes = ["..."]                 # optional

    [[size]]
    of = "parameters"               # one of `SIZES`
    published = "0.078 M"           # as the source writes it
    counts = "folded"               # only for parameters: one of `COUNTS`
    source = "nxp-classification"   # a name in sources.toml
    difference = "..."              # if the zoo's network has another figure: the reason

    [[accuracy]]
    precision = "int8"              # one of `PRECISIONS`
    top1 = 75                       # per cent; top5 is optional
    source = "nxp-classification"

    [[speed]]
    ms = 3.83                       # for one prediction
    board = "i.MX 8M Plus"
    clock_mhz = 1800                # optional, as is threads
    threads = 1
    precision = "int8"
    engine = "TensorFlow Lite"
    source = "nxp-speeds"

    [[weights]]                     # at most one
    url = "https://..."
    sha256 = "..."                  # hash of the file at the URL
    bytes = 17364911                # size of the file at the URL
    member = "folder/weights.pth"   # if the file is an archive: the file in it
"""

from ellc.zoo.facts.load import facts, load
from ellc.zoo.facts.rows import (
    COUNTS,
    PRECISIONS,
    SIZES,
    Accuracy,
    Facts,
    Size,
    Source,
    Speed,
    WeightsFile,
)

__all__ = [
    "COUNTS",
    "PRECISIONS",
    "SIZES",
    "Accuracy",
    "Facts",
    "Size",
    "Source",
    "Speed",
    "WeightsFile",
    "facts",
    "load",
]
