"""Write a C header with an input of a network and the output that the reference computes from it.

python test_data.py MODEL INPUT HEADER
"""

from __future__ import annotations

import sys
from pathlib import Path

from ellc.commands.calls import prepared_inputs
from ellc.execute import reference
from ellc.ir.types import Array
from ellc.models import DEFAULT_OPTIONS


def c_array(name: str, values: Array) -> str:
    """The definition of a constant array with all elements, which are 8-bit integers or floats."""
    kind = "float" if values.dtype.kind == "f" else f"{values.dtype.name}_t"
    numbers = [repr(value) for value in values.reshape(-1).tolist()]
    lines = [", ".join(numbers[i : i + 16]) for i in range(0, len(numbers), 16)]
    body = ",\n    ".join(lines)
    return f"static const {kind} {name}[{len(numbers)}] = {{\n    {body}\n}};\n"


def main() -> None:
    """Write the header that the command line names."""
    model, picture, header = map(Path, sys.argv[1:])
    network = reference(model)
    inputs = prepared_inputs(model, network.network, (picture,), DEFAULT_OPTIONS.pixels)
    outputs = network.call(inputs)
    text = c_array("test_input", inputs[0]) + "\n" + c_array("test_output", outputs[0])
    head = (
        f"/* Made by test_data.py from {model.name} and {picture.name}. */\n#include <stdint.h>\n\n"
    )
    header.write_text(head + text, encoding="utf-8")


main()
