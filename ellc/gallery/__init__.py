"""A gallery of results: a folder of web pages that compare models by accuracy and speed.

A result is a JSON file: the figures of one model in one precision, on one board, by one engine.

    {
      "format": "ellc gallery 1",
      "model": "digits8",                 # letters, digits and . _ + -; one page for each name
      "precision": "int8",                # one of `PRECISIONS`
      "board": "Raspberry Pi 3",
      "clock_mhz": 1200,                  # optional
      "engine": "ellc",
      "input": [8, 8, 1],                 # rows, columns, channels; of other inputs the extents
      "colours": "grey",                  # one of `COLOURS`
      "dataset": "digits",
      "origin": "...",                    # optional: where the model is from
      "network": {"file": "digits8.tflite"},   # optional: the model file, for its layers and a
                                          # drawing; or {"zoo": "resnet8"}
      "figures": [
        {"of": "top1", "value": 97.5, "provenance": "measured", "command": "ellc evaluate ..."},
        {"of": "ms", "value": 0.03, "provenance": "modelled", "command": "ellc explain ...",
         "threads": 1},
        {"of": "top5", "value": 99, "provenance": "published",
         "source": {"title": "A paper", "url": "https://..."}}
      ],
      "prepare": ["ellc zoo build ..."],  # optional: `ellc gallery measure` runs these first
      "commands": ["ellc compile ..."],   # optional: for the reader of the page
      "downloads": [{"title": "model", "file": "digits8.tflite"}],   # optional
      "notes": ["..."],                   # optional
      "machine": "..."                    # written by `ellc gallery measure`
    }

`of` is one of `FIGURES`: `top1` and `top5` in per cent, `ms` for one prediction, numbers of
parameters and MACs, bytes of weights, of the file and of RAM. A figure that is measured or modelled
has a command, and no value until it is measured; a published one has a source. Names of files are
relative to the result's folder and may not leave it.
"""

from ellc.gallery.load import read_results
from ellc.gallery.rows import Figure, Result

__all__ = ["Figure", "Result", "read_results"]
