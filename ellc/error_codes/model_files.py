"""E2: model files."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E201",
        "An `.ell` file cannot be read",
        "The file is missing or not readable; or it is a zip file that is damaged or does not "
        "have exactly one file in it.",
        "Check the path and the permissions; a zip file must have one `.ell` archive in it.",
    ),
    ErrorCode(
        "E202",
        "An `.ell` file is not JSON",
        "The text ends too early or has a syntax error: the file is damaged, or it is not an "
        "`.ell` file.",
        "Get the file again. The report names the line and the column.",
    ),
    ErrorCode(
        "E203",
        "A model file exceeds a limit",
        "Model files are not trusted, so there are limits on their size, their nesting, the number "
        "of nodes, the elements of constants and the memory for reading them.",
        "If the file is valid, raise the limit that the report names, with `Limits` in the Python "
        "API. Otherwise the file is damaged.",
    ),
    ErrorCode(
        "E204",
        "An `.ell` archive is damaged",
        "The JSON is valid, but it is not an archive of a model, or its fields contradict each "
        "other.",
        "Export the model again. The report lists each problem with its location.",
    ),
    ErrorCode(
        "E205",
        "Nodes of an `.ell` model are not supported",
        "The model needs nodes that ellc does not compile, such as signal processing.",
        "Use `--outputs ID.output` to compile the part of the model before these nodes. `ellc ops "
        "--format ell` lists the supported nodes.",
    ),
    ErrorCode(
        "E206",
        "The network cannot be written as `.ell`",
        "An `.ell` file holds a chain of layers; this network has branches or operators that the "
        "format does not have.",
        "Write an `.eir` file, which can hold any network: `-o NAME.eir`.",
    ),
    ErrorCode(
        "E207",
        "An `.ell` file cannot be written",
        "The system refuses to write the file.",
        "Check the folder, its permissions and the free space.",
    ),
    ErrorCode(
        "E210",
        "An ONNX or TensorFlow Lite file is damaged",
        "The file cannot be read, has another format, or contradicts itself: a tensor is missing, "
        "two nodes compute the same value, or a file with external data does not exist.",
        "Export or download the model again. Files with external data must be in the folder of the "
        "model.",
    ),
    ErrorCode(
        "E211",
        "The package for a format is not installed",
        "Reading ONNX needs the Python package `onnx`; reading TensorFlow Lite needs `tflite` and "
        "`flatbuffers`.",
        "`pip install 'ellc-compiler[onnx,tflite]'`, or with pipx "
        "`pipx inject ellc-compiler onnx tflite flatbuffers`.",
    ),
    ErrorCode(
        "E212",
        "Operators of the model are not supported",
        "The file has operators, attributes or element types that ellc does not compile. The "
        "report lists each of them with its node.",
        "Use `--outputs NAME,...` to compile only a part of the model; the hint in the report "
        "gives the names. `ellc ops --format onnx` (or `tflite`) lists the supported operators "
        "with their limits.",
    ),
    ErrorCode(
        "E213",
        "The shape of an input is not known",
        "Compiled code has static shapes, but the file does not say how long a dimension of an "
        "input is.",
        "Give the shape: `--shape NAME=1,3,224,224`.",
    ),
    ErrorCode(
        "E214",
        "An option has a name that is not in the model",
        "`--outputs`, `--shape`, `--set` or `--signature` has a name that is not in the file.",
        "Use a name from `ellc inspect`, which lists inputs and layers; the report shows similar "
        "names.",
    ),
    ErrorCode(
        "E215",
        "An input cannot have the value of `--set`",
        "The option has another number of elements than the input, or numbers that the input's "
        "element type cannot hold.",
        "Give one number for all elements, or one number for each element, in the range of the "
        "element type.",
    ),
)
