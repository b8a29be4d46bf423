"""Lists the latest version of every operator that ellc knows.

The version of an operator determines its allowed element types, ranks and options. The table has
the latest versions in the runtime with which the tests compare results. The meaning of a later
version is unknown, so operators of later versions are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ellc.frontends.graph_import.values import Unsupported

_FIRST = 1
# Operators that have more than one version.
_LATEST: Mapping[str, int] = MappingProxyType(
    {
        "ABS": 5,
        "ADD": 6,
        "ARG_MAX": 3,
        "ARG_MIN": 3,
        "AVERAGE_POOL_2D": 3,
        "BATCH_MATMUL": 4,
        "BATCH_TO_SPACE_ND": 4,
        "BIDIRECTIONAL_SEQUENCE_LSTM": 3,
        "BROADCAST_TO": 4,
        "CAST": 9,
        "CONCATENATION": 7,
        "CONV_2D": 8,
        "COS": 2,
        "DEPTHWISE_CONV_2D": 7,
        "DEPTH_TO_SPACE": 2,
        "DEQUANTIZE": 9,
        "DIV": 2,
        "DYNAMIC_UPDATE_SLICE": 6,
        "EMBEDDING_LOOKUP": 5,
        "EQUAL": 5,
        "EXP": 2,
        "FILL": 5,
        "FLOOR_DIV": 3,
        "FLOOR_MOD": 2,
        "FULLY_CONNECTED": 14,
        "GATHER": 8,
        "GATHER_ND": 6,
        "GELU": 3,
        "GREATER": 2,
        "GREATER_EQUAL": 3,
        "L2_NORMALIZATION": 2,
        "LEAKY_RELU": 2,
        "LESS": 3,
        "LESS_EQUAL": 2,
        "LOG": 2,
        "LOGISTIC": 3,
        "LOG_SOFTMAX": 2,
        "MAXIMUM": 4,
        "MAX_POOL_2D": 3,
        "MEAN": 3,
        "MINIMUM": 4,
        "MIRROR_PAD": 3,
        "MUL": 8,
        "NOT_EQUAL": 4,
        "PACK": 5,
        "PAD": 6,
        "PADV2": 6,
        "QUANTIZE": 6,
        "RANGE": 2,
        "REDUCE_MAX": 3,
        "REDUCE_MIN": 3,
        "REDUCE_PROD": 2,
        "RELU": 3,
        "RELU6": 3,
        "RESIZE_BILINEAR": 4,
        "RESIZE_NEAREST_NEIGHBOR": 4,
        "REVERSE_V2": 4,
        "RNN": 3,
        "RSQRT": 3,
        "SELECT": 4,
        "SELECT_V2": 2,
        "SIGN": 2,
        "SIN": 2,
        "SLICE": 8,
        "SOFTMAX": 4,
        "SPACE_TO_BATCH_ND": 4,
        "SPACE_TO_DEPTH": 2,
        "SPLIT": 5,
        "SPLIT_V": 3,
        "SQRT": 2,
        "SQUARED_DIFFERENCE": 2,
        "SQUEEZE": 2,
        "STRIDED_SLICE": 8,
        "SUB": 5,
        "SUM": 2,
        "SVDF": 4,
        "TANH": 3,
        "TILE": 3,
        "TOPK_V2": 3,
        "TRANSPOSE": 9,
        "TRANSPOSE_CONV": 5,
        "UNIDIRECTIONAL_SEQUENCE_LSTM": 4,
        "UNIDIRECTIONAL_SEQUENCE_RNN": 3,
        "UNPACK": 6,
    }
)


def latest_version(kind: str) -> int:
    """The latest known version of an operator; 1 for a custom operator."""
    return _LATEST.get(kind, _FIRST)


def want_known_version(kind: str, version: int) -> None:
    """Raise `Unsupported` unless the version is between 1 and the latest known version."""
    latest = latest_version(kind)
    if not _FIRST <= version <= latest:
        raise Unsupported(f"version {version} of {kind} is unknown; 1 to {latest} are supported")
