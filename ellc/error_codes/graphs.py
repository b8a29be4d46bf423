"""E1: graphs and passes."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
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
        "A graph breaks a structural rule: a value is used before it is defined, is defined twice, "
        "or has another type than its operator gives.",
        "For a graph of your own, correct the problems that the report lists. After reading a "
        "model file or running a pass this is a bug of ellc: please report it with the file.",
    ),
    ErrorCode(
        "E111",
        "A constant is outside the range that its operator accepts",
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
        "Correct the line, or print the graph again with `ellc print`.",
    ),
    ErrorCode(
        "E140",
        "An `.eir` file is damaged",
        "The file is not an `.eir` container, holds no graph, or its weights do not match their "
        "hashes.",
        "Write the file again with `ellc import` or `ellc.ir.container.save`.",
    ),
    ErrorCode(
        "E150",
        "A list of passes cannot be used",
        "A pass or one of its options does not exist, or a pass that kernels need was skipped.",
        "The report lists the names that exist.",
    ),
    ErrorCode(
        "E160",
        "The network cannot be computed step by step",
        "`--stepwise` was given for a network without a loop over steps, or one in which an "
        "operator outside of the loops needs more than one step at a time.",
        "Leave out `--stepwise`, or use `--outputs` to compile the part before the operator that "
        "the report names. A network that was read with a sequence of one step must be read with a "
        "longer one: `--shape`.",
    ),
)
