"""Every code that an `EllcError` can carry, with its cause and what to do about it.

A code is stable: scripts may test for it, and a code that is no longer raised is not given to
something else. `tests/project/test_error_codes.py` compares this table with the source, in both
directions; `docs/generate.py` makes the page of error codes from it.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = {
    "E1": "Graphs and passes",
    "E2": "Model files",
    "E3": "Kernels, plans and output files",
    "E6": "Targets and tools",
    "E7": "Command line, pictures and arrays",
}
"""Titles by the first two characters of a code."""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code. `title` is a heading, `cause` says when it is raised, `remedy` what helps."""

    code: str
    title: str
    cause: str
    remedy: str


_ROWS = (
    # Graphs and passes
    ErrorCode(
        "E101",
        "Operand types do not fit",
        "An operator was given operands of shapes or element types that it does not take.",
        "If you build graphs yourself, compare the operands with the operator's `infer`. For a "
        "model file, importers normally report this as E212 with the name of the layer.",
    ),
    ErrorCode(
        "E110",
        "The graph is not well formed",
        "A graph breaks a structural rule: a value is used before it is made, is made twice, or "
        "has another type than its operator gives.",
        "For a graph of your own, mend what the report lists. After reading a model file or "
        "running a pass this is a bug of ellc: please report it with the file.",
    ),
    ErrorCode(
        "E111",
        "A constant is outside of what its operator takes",
        "A stored constant has no meaning where it is used: an index beyond its axis, or a shift "
        "by more bits than the number has.",
        "The report names the layer, the number and the permitted range. Export the model again; "
        "such a file does not work in its own runtime either.",
    ),
    ErrorCode(
        "E120",
        "Arrays do not match the graph's inputs",
        "The reference executor was given another number of arrays than the graph has inputs, or "
        "an array of another shape.",
        "Pass one array for each input, in their order; `ellc inspect` prints the shapes.",
    ),
    ErrorCode(
        "E130",
        "Graph text cannot be read",
        "The text form of a graph has a syntax error; the report names the line.",
        "Mend the line, or print the graph again with `ellc print`.",
    ),
    ErrorCode(
        "E140",
        "An `.eir` file is damaged",
        "The file is no `.eir` container, holds no graph, or its weights do not match their "
        "hashes.",
        "Write the file again with `ellc import` or `ellc.ir.container.save`.",
    ),
    ErrorCode(
        "E150",
        "A list of passes cannot be used",
        "A pass or one of its options does not exist, or a pass that is necessary was skipped.",
        "The report lists the names that exist.",
    ),
    ErrorCode(
        "E160",
        "The network cannot be computed one step a call",
        "`--stepwise` was given for a network without a loop over steps, or one in which an "
        "operator outside of the loops needs more than one step at a time.",
        "Leave out `--stepwise`, or use `--outputs` to compile the part before the operator that "
        "is named. A network that was read with one step needs more of them: `--shape`.",
    ),
    # Model files
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
        "The text breaks off or has a syntax error; the report names line and column.",
        "The file is damaged or of another kind. Get it again.",
    ),
    ErrorCode(
        "E203",
        "Beyond the limits for model files",
        "Model files are not trusted, so reading is bounded: size, nesting, number of nodes, "
        "elements of constants, memory.",
        "A sound file that is larger than the limits needs `Limits` with higher numbers in the "
        "Python API; the report names the field. Otherwise the file is damaged.",
    ),
    ErrorCode(
        "E204",
        "An `.ell` archive is damaged",
        "The JSON is sound, but it is no archive of a model, or its fields contradict each other.",
        "The report lists each problem with its place. Export the model again.",
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
        "The system does not let the file be written.",
        "Check folder, permissions and free space.",
    ),
    ErrorCode(
        "E210",
        "An ONNX or TensorFlow Lite file is damaged",
        "The file cannot be read, is of another kind, or contradicts itself: a missing tensor, a "
        "value that two nodes make, data in a file that is not there.",
        "Export or download it again. A file with external data needs the data file beside it.",
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
        "`--outputs`, `--shape` or `--set` names a value that is not in the file.",
        "The report shows names like it; `ellc inspect` lists inputs and layers.",
    ),
    ErrorCode(
        "E215",
        "An input cannot have the value of `--set`",
        "The option gives another number of elements than the input has, or numbers that its "
        "element type does not hold.",
        "Give one number for all elements, or one for each, that the element type holds.",
    ),
    # Kernels, plans and output files
    ErrorCode(
        "E300",
        "Operators have no kernel for this target",
        "The planner found no kernel for at least one operator; the report lists all of them with "
        "their reasons.",
        "`ellc ops` lists what can be compiled. `--outputs` compiles the part before them.",
    ),
    ErrorCode(
        "E301",
        "No kernel computes this operator in this form",
        "The operator has no kernel, or none for its element types or for what is fused with it.",
        "For a model file this is a bug of ellc: please report it. If you are adding an operator, "
        "its kernel is missing: see the tutorial.",
    ),
    ErrorCode(
        "E302",
        "An operand must be constant",
        "The operator is compiled only with constant weights, bias, scale or tables, and the "
        "network computes them; or a transposed convolution has strides that are too large.",
        "Export the model with weights as constants; use smaller strides.",
    ),
    ErrorCode(
        "E303",
        "The target has no double precision",
        "The network computes in float64, which the target's floating-point unit does not have.",
        "Export the model in float32.",
    ),
    ErrorCode(
        "E304",
        "The network does not fit",
        "Its intermediate results need more memory than can be addressed, or a loop inside a loop "
        "is too long to be written out.",
        "Give smaller inputs (`--shape`), or fewer trips to one of the loops.",
    ),
    ErrorCode(
        "E305",
        "There is no such kernel",
        "`--kernel NODE=NAME` names a layer that the network does not have, or a kernel or "
        "schedule that is no candidate for it.",
        "Compile without the option and with `ELLC_DEBUG=plan`: that lists every layer's "
        "candidates.",
    ),
    ErrorCode(
        "E310",
        "No such kind of output file",
        "`--emit` names a kind of file that does not exist.",
        "The report lists the kinds.",
    ),
    ErrorCode(
        "E311",
        "The target has no threads",
        "More than one thread was asked for where no operating system provides them.",
        "Use `--threads 1`.",
    ),
    ErrorCode(
        "E312",
        "The Python module needs the shared library",
        "`--emit py` was given without `so`.",
        "Use `--emit so,py`.",
    ),
    ErrorCode(
        "E313",
        "The target has no Python",
        "A wheel was asked for a target on which Python does not run.",
        "Leave out `--wheel`.",
    ),
    ErrorCode(
        "E314",
        "`ELLC_DEBUG` holds an unknown word",
        "The environment variable names something that does not exist.",
        "The report lists the words.",
    ),
    ErrorCode(
        "E320",
        "Kernel text cannot be read",
        "The text form of a kernel has syntax errors; the report lists the lines.",
        "Mend the lines, or print the kernel again.",
    ),
    ErrorCode(
        "E321",
        "The text of a plan cannot be read",
        "The text form of a plan has syntax errors; the report lists the lines.",
        "Mend the lines, or print the plan again.",
    ),
    # Targets and tools
    ErrorCode(
        "E601",
        "Unknown target",
        "`--target` names a target that does not exist.",
        "`ellc targets` lists all; `--target custom` takes `--triple` and `--cpu`.",
    ),
    ErrorCode(
        "E602",
        "A custom target needs a triple",
        "`--target custom` was given without `--triple`.",
        "For example `--target custom --triple aarch64-unknown-linux-gnu --cpu cortex-a73`.",
    ),
    ErrorCode(
        "E603",
        "No code can be made for this triple",
        "The triple's architecture or operating system is none that ellc serves.",
        "Write all four parts, such as `armv7-unknown-linux-gnueabihf`. The report lists the "
        "architectures.",
    ),
    ErrorCode(
        "E604",
        "Unknown CPU or feature",
        "LLVM does not know `--cpu` or a feature of `--features`, a feature has no sign, or the "
        "CPU is of another architecture than the triple.",
        "Use LLVM's names, such as `cortex-a53` and `+dotprod`.",
    ),
    ErrorCode(
        "E605",
        "llvmlite is not installed",
        "The Python package that makes code is missing, so the installation is not whole.",
        "`pip install llvmlite`, or install `ellc-compiler` again.",
    ),
    ErrorCode(
        "E610",
        "A C file cannot be compiled",
        "The compiler failed or ran out of time. The report holds its own words and the command.",
        "With `--cc`, check that this compiler serves the target. Without, this is a bug of ellc "
        "or a damaged cache folder of zig, which the report names.",
    ),
    ErrorCode(
        "E611",
        "ziglang is not installed",
        "The Python package that holds the linker is missing, so the installation is not whole.",
        "`pip install ziglang`, or name your own tools with `--cc` and `--linker`.",
    ),
    ErrorCode(
        "E612",
        "Linking failed",
        "The linker failed; the report holds its own words and the command.",
        "With `--linker`, check that it serves the target. Without, please report a bug.",
    ),
    ErrorCode(
        "E613",
        "This kind of file cannot be linked for the target",
        "Bare-metal targets have no shared libraries, Windows linkers merge no objects, and "
        "`--linker` serves ELF targets only.",
        "Ask for another kind, such as `--emit lib`, or leave out `--linker`.",
    ),
    ErrorCode(
        "E620",
        "Code for this target cannot be run here",
        "The target's code does not run on this machine, and there is no emulator for it.",
        "On Debian and Ubuntu `apt-get install qemu-user` brings emulators for Linux targets. "
        "Code for other targets can be compiled only.",
    ),
    ErrorCode(
        "E621",
        "A program of the target ended with an error",
        "Compiled code that was run here or under an emulator failed, took too long, or gave "
        "another answer than its interface says.",
        "Use the library with the files of the same `ellc compile`; otherwise please report a bug.",
    ),
    ErrorCode(
        "E622",
        "There is no disassembler",
        "Assembly was asked for and `llvm-objdump` is not installed, or it failed.",
        "On Debian and Ubuntu: `apt-get install llvm`.",
    ),
    ErrorCode(
        "E623",
        "The cycle model failed",
        "The program that `ELLC_CYCLE_TOOL` names ended with an error or gave no usable answer.",
        "Unset the variable: `ellc explain` shows everything but modelled cycles without it.",
    ),
    # Command line, pictures and arrays
    ErrorCode(
        "E701",
        "A file cannot be read",
        "The model or library does not exist, or the system does not let it be read.",
        "Check the path. For a folder of compiled files, name the library in it.",
    ),
    ErrorCode(
        "E702",
        "Not a model file",
        "Neither content nor name of the file is that of a format that ellc reads.",
        "Give an `.ell`, `.onnx`, `.tflite` or `.eir` file. `ellc run` and `ellc bench` take "
        "compiled libraries, too.",
    ),
    ErrorCode(
        "E703",
        "A file, folder or standard output cannot be written",
        "A folder is missing, the system does not permit it, the disk is full, or standard output "
        "is full or closed.",
        "Check folder and permissions; make room, or set `TMPDIR` for temporary files.",
    ),
    ErrorCode(
        "E704",
        "An option has no meaning for this format",
        "`--outputs`, `--shape`, `--set` or `--layout` was given for a format that has no such "
        "choice.",
        "The report says which formats take the option; leave it out.",
    ),
    ErrorCode(
        "E705",
        "Library and manifest do not belong together",
        "The JSON file beside a library is missing, damaged, or of another compile.",
        "Keep the files of one `ellc compile` together, or give the model itself.",
    ),
    ErrorCode(
        "E706",
        "This needs the model, not a library",
        "The reference and times of single layers need what only the model file holds.",
        "Give the model file instead of the library.",
    ),
    ErrorCode(
        "E707",
        "Only the device can time this library",
        "The library is for another machine, and times under an emulator say nothing.",
        "On the device, compile `demo.c` and run it with `--bench`.",
    ),
    ErrorCode(
        "E708",
        "Layers are timed on one thread",
        "`ellc bench --layers` was given with `--threads`.",
        "Leave out `--threads`.",
    ),
    ErrorCode(
        "E711",
        "Impossible preprocessing",
        "Options or metadata would turn pixels into infinities, NaN, or one number whatever the "
        "pixel; or metadata holds no numbers.",
        "Give `--range`, `--mean` and `--scale`; an option replaces what the metadata says.",
    ),
    ErrorCode(
        "E713",
        "No such input file",
        "A picture, `.npy` file or file of labels does not exist.",
        "Check the path.",
    ),
    ErrorCode(
        "E714",
        "No input takes a picture",
        "A picture or an option of preprocessing was given, and the network's input is not of a "
        "picture's shape.",
        "Give the values as a `.npy` file (`numpy.save`).",
    ),
    ErrorCode(
        "E715",
        "A picture cannot be read",
        "The file is no picture in a known format, is damaged, or has too many pixels.",
        "Give a PNG, JPEG, BMP, GIF, WebP or PPM file; scale large pictures down first.",
    ),
    ErrorCode(
        "E717",
        "Several inputs take pictures",
        "Preprocessing is for one input, and the network has more that a picture fits.",
        "Leave out the options, and prepare the inputs as `.npy` files.",
    ),
    ErrorCode(
        "E719",
        "Preprocessing is inside already",
        "Options of preprocessing were given for a library or network that takes pixels.",
        "Leave out `--pixels`, `--color`, `--range`, `--mean`, `--scale` and `--resize`.",
    ),
    ErrorCode(
        "E720",
        "A `.npy` file cannot be read",
        "The file is damaged, or holds something else than one array of numbers.",
        "Write it with `numpy.save`.",
    ),
    ErrorCode(
        "E721",
        "An array has another shape than the input",
        "The shape of a given array is not the shape of the network's input.",
        "`ellc inspect` prints the shapes of the inputs.",
    ),
    ErrorCode(
        "E722",
        "Values do not fit the input's element type",
        "An input of integers was given numbers that this type does not hold.",
        "Convert the array first; for an 8-bit input, round and clip.",
    ),
    ErrorCode(
        "E723",
        "Wrong number of input files",
        "The model takes another number of inputs than files were given.",
        "Give one file for each input, in the order that the report shows.",
    ),
    ErrorCode(
        "E724",
        "Several input files cannot be used",
        "More than one of the given files is of no use; the report has a line for each.",
        "Each line says what is wrong with its file.",
    ),
    ErrorCode(
        "E730",
        "A file of labels cannot be read",
        "The file is not readable, or no UTF-8 text.",
        "Write one label a line in UTF-8.",
    ),
    ErrorCode(
        "E740",
        "No such network in the zoo",
        "`ellc zoo build` was given a name that is not in the list.",
        "`ellc zoo list` shows all names.",
    ),
    ErrorCode(
        "E741",
        "Not a width",
        "The width is no number above 0 and at most 1.",
        "For example `1/16` or `0.5`.",
    ),
    ErrorCode(
        "E742",
        "Models are not written with this suffix",
        "`-o` names a file of a format that cannot be written, or not for this network.",
        "The report names the suffixes: `.ell` or `.eir`.",
    ),
    ErrorCode(
        "E750",
        "No such node to explain",
        "`ellc explain --node` was given a name that no layer, value or kernel has.",
        "The report lists near names; `ellc explain MODEL` lists all nodes.",
    ),
    ErrorCode(
        "E751",
        "This level shows one node",
        "Kernels, LLVM IR and assembly are shown of a node, and none was named.",
        "`--node NAME`; the report names the costliest.",
    ),
    ErrorCode(
        "E760",
        "A tuning file cannot be read",
        "The file given with `--tuning` is damaged, or no tuning file; the report says where.",
        "Write it anew with `ellc tune`.",
    ),
    ErrorCode(
        "E761",
        "Nothing to measure kernels with",
        "`ellc tune` was asked for a target that neither is this machine nor has a cycle model.",
        "Run `ellc tune --target host` on the device itself, or set ELLC_CYCLE_TOOL.",
    ),
)

ERROR_CODES = {row.code: row for row in _ROWS}
"""Every code in order."""


def group_of(code: str) -> str:
    """The title of the group that a code belongs to; `KeyError` for a code of none."""
    return GROUPS[code[:2]]
