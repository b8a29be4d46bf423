"""A gallery of results: a folder of web pages that compare models by accuracy and speed.

A result is a JSON file with the figures of one model, in one precision, on one board, as computed
by one engine.

    {
      "format": "ellc gallery 1",
      "model": "digits8",                 # letters, digits and . _ + -; each name has one page
      "precision": "int8",                # one of `PRECISIONS`
      "board": "Raspberry Pi 3",
      "clock_mhz": 1200,                  # optional
      "engine": "ellc",
      "input": [8, 8, 1],                 # rows, columns, channels of an image; all extents of
                                          # any other input
      "colours": "grey",                  # one of `COLOURS`
      "dataset": "digits",
      "origin": "...",                    # optional: where the model comes from
      "network": {"file": "digits8.tflite"},   # optional, or {"zoo": "resnet8"}: the network
                                          # whose layers and graph the page shows
      "try": {                            # optional: for the page that runs the network
        "labels": "labels.txt",           # optional: a file with the name of each class on a line
        "preprocess": "unit",             # optional: one of `PRESETS`; default: the model's own
        "drawing": 0.72                   # optional: visitors may draw, light on black; the
      },                                  # drawing is scaled to fill this share of the picture
      "figures": [
        {"of": "top1", "value": 97.5, "provenance": "measured", "command": "ellc evaluate ..."},
        {"of": "ms", "value": 0.03, "provenance": "modelled", "command": "ellc explain ...",
         "threads": 1},
        {"of": "top5", "value": 99, "provenance": "published",
         "source": {"title": "A paper", "url": "https://..."}}
      ],
      "prepare": ["ellc zoo build ..."],  # optional: `ellc gallery measure` runs these first
      "commands": ["ellc compile ..."],   # optional: commands that the page shows
      "downloads": [{"title": "model", "file": "digits8.tflite"}],   # optional
      "notes": ["..."],                   # optional
      "machine": "..."                    # written by `ellc gallery measure`
    }

`of` is one of `FIGURES`: `top1` and `top5` are percentages, `ms` is the time of one prediction,
`parameters` and `macs` are counts, and the others are bytes of weights, of the model file and of
RAM. A measured or modelled figure has a command; its value may be missing until `ellc gallery
measure` has run the command. A published figure has a source instead. An accuracy that was not
measured with the whole test data has a `sample` that describes the data, such as `"300 pictures"`.
Each file name is relative to the folder of the result, and the file must be inside that folder.
"""

from ellc.gallery.load import read_results
from ellc.gallery.rows import Figure, Result

__all__ = ["Figure", "Result", "read_results"]
