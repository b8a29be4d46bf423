"""Let the tests of the soak import the modules in this folder, as its script does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
