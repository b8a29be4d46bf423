"""All pointwise operators, re-exported from the modules that define them."""

from __future__ import annotations

from ellc.ir.ops.activations import *  # noqa: F403
from ellc.ir.ops.arithmetic import *  # noqa: F403
from ellc.ir.ops.cast import *  # noqa: F403
from ellc.ir.ops.comparisons import *  # noqa: F403
from ellc.ir.ops.functions import *  # noqa: F403
