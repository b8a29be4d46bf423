"""Published facts of the zoo's networks: one TOML file for each network, and `sources.toml`.

Every figure has its source. To add a network's facts, add a file `NAME.toml`:

    dataset = "CIFAR-10"            # the training data
    colours = "rgb"                 # rgb, bgr, grey, or none
    origin = "MLPerf Tiny"
    notes = ["..."]                 # optional

    [[size]]
    of = "parameters"               # one of `SIZES`
    published = "0.078 M"           # as the source writes it
    counts = "folded"               # only for parameters: one of `COUNTS`
    source = "nxp-classification"   # a name in sources.toml
    difference = "..."              # why the figure of the zoo's network differs, if it does

    [[accuracy]]
    precision = "int8"              # one of `PRECISIONS`
    top1 = 75                       # per cent; top5 is optional
    source = "nxp-classification"

    [[speed]]
    ms = 3.83                       # of one prediction
    board = "i.MX 8M Plus"
    clock_mhz = 1800                # optional, like threads
    threads = 1
    precision = "int8"
    engine = "TensorFlow Lite"
    source = "nxp-speeds"

    [[weights]]                     # at most one
    url = "https://..."
    sha256 = "..."                  # of what the URL gives, and its bytes
    bytes = 17364911
    member = "folder/weights.pth"   # of an archive; may be left out
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
