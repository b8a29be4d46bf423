"""E2: model files."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E201",
        "An `.ell` file cannot be read",
        "The file is missing or not readable, or it is a zip file that is damaged or does not "
        "hold exactly one archive.",
        "Check path and permissions; put one `.ell` archive into the zip file.",
    ),
    ErrorCode(
        "E202",
        "An `.ell` file is not JSON",
        "The text ends too early or has a syntax error; the report names line and column.",
        "The file is damaged or of another kind. Get it again.",
    ),
    ErrorCode(
        "E203",
        "Beyond the limits for model files",
        "Model files are not trusted, so reading has limits: size, nesting, number of nodes, "
        "elements of constants, memory.",
        "To read a valid file beyond the limits, use `Limits` with higher numbers in the Python "
        "API; the report names the field. Otherwise the file is damaged.",
    ),
    ErrorCode(
        "E204",
        "An `.ell` archive is damaged",
        "The JSON is valid, but not an archive of a model, or its fields contradict each other.",
        "The report lists each problem with its location. Export the model again.",
    ),
    ErrorCode(
        "E205",
        "Nodes of an `.ell` model are not supported",
        "The model needs nodes that ellc does not compile, such as signal processing.",
        "`ellc ops --format ell` lists what is supported. `--outputs ID.output` compiles the part "
        "of the model before them.",
    ),
    ErrorCode(
        "E206",
        "The network cannot be written as `.ell`",
        "An `.ell` file holds a chain of layers; this network has branches or operators that the "
        "format does not have.",
        "Write an `.eir` file, which holds any network: `-o NAME.eir`.",
    ),
    ErrorCode(
        "E207",
        "An `.ell` file cannot be written",
        "The system refuses to write the file.",
        "Check folder, permissions and free space.",
    ),
    ErrorCode(
        "E210",
        "An ONNX or TensorFlow Lite file is damaged",
        "The file cannot be read, is of another kind, or contradicts itself: a missing tensor, a "
        "value that two nodes compute, or external data in a file that does not exist.",
        "Export or download it again. External data must be in the same folder as the model.",
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
        "report lists every one of them with its node.",
        "`ellc ops --format onnx` (or `tflite`) lists what is supported and with which limits. "
        "The report's hint names the outputs to cut at: `--outputs NAME,...`.",
    ),
    ErrorCode(
        "E213",
        "The shape of an input is open",
        "Compiled code has static shapes, and the file leaves a dimension open.",
        "Give the shape: `--shape NAME=1,3,224,224`.",
    ),
    ErrorCode(
        "E214",
        "An option names something the model does not have",
        "`--outputs`, `--shape`, `--set` or `--signature` has a name that is not in the file.",
        "The report shows similar names; `ellc inspect` lists inputs and layers.",
    ),
    ErrorCode(
        "E215",
        "An input cannot have the value of `--set`",
        "The option gives another number of elements than the input has, or numbers that its "
        "element type cannot hold.",
        "Give one number for all elements, or one for each, in the range of the element type.",
    ),
)
