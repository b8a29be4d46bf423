"""E1: graphs and passes."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E101",
        "Operand types do not fit",
        "The operands of an operator have shapes or element types that the operator does not take.",
        "If you build graphs yourself, compare the operands with the operator's `infer`. For a "
        "model file, importers normally report this as E212 with the name of the layer.",
    ),
    ErrorCode(
        "E110",
        "The graph is not well formed",
        "A graph breaks a structural rule: a value is used before it is defined, is defined twice, "
        "or has another type than its operator computes.",
        "If you built the graph yourself, correct the problems in the report. If the graph comes "
        "from a model file or a pass, this is a bug of ellc: please report it with the file.",
    ),
    ErrorCode(
        "E111",
        "A constant is outside the range that its operator accepts",
        "A constant in the file is not allowed as the operand of its operator: an index beyond the "
        "end of an axis, or a shift by more bits than the number has.",
        "Export the model again; the file would not work in its original runtime either. The "
        "report names the layer, the number and the permitted range.",
    ),
    ErrorCode(
        "E120",
        "Arrays do not match the graph's inputs",
        "The reference executor needs one array of the right shape for each input of the graph, "
        "but got others.",
        "Pass one array for each input, in the order of the inputs; `ellc inspect` prints the "
        "shapes.",
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
        "Use the names in the report.",
    ),
    ErrorCode(
        "E160",
        "The network cannot be computed step by step",
        "`--stepwise` was given, but the network has no loop over a sequence, or an operator "
        "outside the loops needs more than one element of the sequence at a time.",
        "Leave out `--stepwise`, or use `--outputs` to compile the part before the operator that "
        "the report names. If the network was read with a sequence of length 1, give a longer "
        "sequence with `--shape`.",
    ),
)
