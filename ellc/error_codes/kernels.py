"""E3: kernels, plans and output files."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E300",
        "Operators have no kernel for this target",
        "The planner found no kernel for at least one operator.",
        "Use `--outputs` to compile the part before these operators. The report lists each of them "
        "with the reason; `ellc ops` lists the operators that can be compiled.",
    ),
    ErrorCode(
        "E301",
        "No kernel computes this operator in this form",
        "The operator has no kernel, or no kernel for its element types or for its fused stages.",
        "For a model file this is a bug of ellc: please report it. If you are adding an operator, "
        "its kernel is missing: see the tutorial.",
    ),
    ErrorCode(
        "E302",
        "An operand must be constant",
        "The kernels of the operator need constant weights, bias, scale or tables, but the network "
        "computes them; or a transposed convolution has strides that are too large.",
        "Export the model with constant weights, or use smaller strides.",
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
        "The intermediate results need more memory than can be addressed or than this machine has, "
        "a kernel would be too long, or an inner loop has too many trips to be unrolled.",
        "Use smaller inputs (`--shape`), smaller windows, or fewer trips of one of the loops.",
    ),
    ErrorCode(
        "E305",
        "There is no such kernel",
        "`--kernel LAYER=KERNEL` names a layer that the network does not have, or a kernel or "
        "schedule that is not a candidate for this layer.",
        "Compile without the option, but with `ELLC_DEBUG=plan`, which lists the candidates of "
        "every layer.",
    ),
    ErrorCode(
        "E310",
        "No such kind of output file",
        "`--emit` names a kind of file that does not exist.",
        "Use one of the kinds in the report.",
    ),
    ErrorCode(
        "E311",
        "The target has no threads",
        "More than one thread was requested for a target without an operating system.",
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
        "A wheel or a Python module was requested for a target on which Python does not run.",
        "Leave out `--wheel`, and `py`, `litert` and `onnxruntime` of `--emit`.",
    ),
    ErrorCode(
        "E314",
        "`ELLC_DEBUG` contains an unknown word",
        "The environment variable has a word that ellc does not know.",
        "Use the words in the report.",
    ),
    ErrorCode(
        "E315",
        "The target has no clock",
        "`--profile` measures times in the compiled code, but a WebAssembly module cannot read a "
        "clock.",
        "Leave out `--profile`, or use `ellc profile`, which predicts costs without running code.",
    ),
    ErrorCode(
        "E316",
        "Not a version of a package",
        "The text after `--package-version` is not a version in the normal form of PEP 440.",
        "Write it as in `1.2.3`, `2.0rc1`, `1.0.post2` or `1.0+board7`.",
    ),
    ErrorCode(
        "E317",
        "Too little RAM",
        "With `--max-ram BYTES` or `--memory`, no plan was found whose arena is that small. Layers "
        "were computed in bands of rows and strips of columns; weights do not count, because they "
        "are constant.",
        "Allow as much as the message says; `ellc explain --ram-curve` shows what less memory "
        "costs. Smaller inputs (`--shape`) and a smaller network need less.",
    ),
    ErrorCode(
        "E318",
        "Memories that cannot be used",
        "`--memory` was given for a target with an operating system, for a board whose memories "
        "ellc does not know, or without a memory for intermediate results.",
        "Leave it out for computers. For a microcontroller, name at least one memory for data, as "
        "in `--memory ram=64K`.",
    ),
    ErrorCode(
        "E319",
        "A memory is too small",
        "Code and weights do not fit in the flash, or arena and stack together do not fit in the "
        "memory, that `--memory` allows.",
        "Give as much as the message says, or make the network smaller: `--optimize size` makes "
        "code shorter, `--max-ram` makes the arena smaller.",
    ),
    ErrorCode(
        "E320",
        "Kernel text cannot be read",
        "The text form of a kernel has syntax errors.",
        "Correct the lines in the report, or print the kernel again.",
    ),
    ErrorCode(
        "E321",
        "The text of a plan cannot be read",
        "The text form of a plan has syntax errors.",
        "Correct the lines in the report, or print the plan again.",
    ),
    ErrorCode(
        "E322",
        "The JavaScript module needs the WebAssembly module",
        "`--emit mjs` was given without `so`, or for another target than `wasm`.",
        "Use `--target wasm --emit so,mjs`.",
    ),
    ErrorCode(
        "E323",
        "No library folder for this target",
        "`--emit zephyr`, `arduino`, `platformio` or `espidf` was given for a target with an "
        "operating system.",
        "Use a microcontroller as target, or `--emit cmake` for computers.",
    ),
)
