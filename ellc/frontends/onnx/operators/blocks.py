"""DepthToSpace and SpaceToDepth: channels become pixels, and pixels become channels."""

from __future__ import annotations

from collections.abc import Mapping

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, operand

# For each mode: the axes after the batch axis once the channels have been split (b: position in the
# block, c: channel, r: row, s: column), and the permutation of all axes of this split tensor.
_TO_SPACE = {
    "DCR": ("bbcrs", (0, 3, 4, 1, 5, 2)),
    "CRD": ("cbbrs", (0, 1, 4, 2, 5, 3)),
}
_TO_DEPTH = {"DCR": (0, 3, 5, 1, 2, 4), "CRD": (0, 1, 3, 5, 2, 4)}


@ONNX.imports("DepthToSpace")
def depth_to_space(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convert block * block channels of a pixel to block x block pixels."""
    x, block = operand(inputs, 0), node.integer("blocksize")
    mode = _mode(node, _TO_SPACE)
    batch, channels, rows, columns = _planes(x)
    if block < 1 or channels % (block * block):
        raise Unsupported(
            f"a number of channels ({channels}) that does not fill {block}x{block} blocks"
        )
    depth = channels // block**2
    letters, order = _TO_SPACE[mode]
    sizes = {"b": block, "c": depth, "r": rows, "s": columns}
    split = reshaped(emitter, x, (batch, *(sizes[letter] for letter in letters)))
    permuted = transposed(emitter, split, order)
    return reshaped(emitter, permuted, (batch, depth, rows * block, columns * block))


@ONNX.imports("SpaceToDepth")
def space_to_depth(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convert block x block pixels to block * block channels of one pixel."""
    x, block = operand(inputs, 0), node.integer("blocksize")
    mode = _mode(node, _TO_DEPTH)
    batch, channels, rows, columns = _planes(x)
    if block < 1 or rows % block or columns % block:
        raise Unsupported(f"{rows}x{columns} pixels in blocks of {block}x{block}")
    shape = (batch, channels, rows // block, block, columns // block, block)
    split = reshaped(emitter, x, shape)
    permuted = transposed(emitter, split, _TO_DEPTH[mode])
    return reshaped(
        emitter, permuted, (batch, channels * block**2, rows // block, columns // block)
    )


def _mode(node: OnnxNode, known: Mapping[str, object]) -> str:
    mode = node.text("mode", "DCR")
    if mode not in known:
        raise Unsupported(f"the mode '{mode}'; {' and '.join(known)} are supported")
    return mode


def _planes(x: Value) -> tuple[int, int, int, int]:
    if x.type.rank != 4:
        raise Unsupported(f"a tensor of rank {x.type.rank}, not 4")
    batch, channels, rows, columns = x.shape
    return batch, channels, rows, columns
