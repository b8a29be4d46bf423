"""Run models with onnxruntime, in another Python than that of the tests: `PYTHON THIS FOLDER`.

FOLDER has NUMBER.onnx, and NUMBER.npz with the inputs by name. The outputs are written by number to
NUMBER.fused.npz and NUMBER.unfused.npz; if a run fails, its error is written to NUMBER.fused.txt or
NUMBER.unfused.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main(folder: Path) -> None:
    """Run every model with and without fusions."""
    onnxruntime.set_default_logger_severity(4)
    level = onnxruntime.GraphOptimizationLevel
    for path in sorted(folder.glob("*.onnx")):
        with np.load(path.with_suffix(".npz")) as stored:
            inputs = dict(stored)
        for way, chosen in (("fused", level.ORT_ENABLE_ALL), ("unfused", level.ORT_DISABLE_ALL)):
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = chosen
            options.intra_op_num_threads = 1
            try:
                session = onnxruntime.InferenceSession(
                    path, options, providers=["CPUExecutionProvider"]
                )
                made = session.run(None, inputs)
            except Exception as error:
                path.with_suffix(f".{way}.txt").write_text(str(error))
                continue
            np.savez(path.with_suffix(f".{way}.npz"), **{str(i): y for i, y in enumerate(made)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
