"""How warm a board is, and whether it runs slower than it could.

A Raspberry Pi lowers its clock when it gets too hot or its supply too weak. What it measured until
then is not what it can do, so programs here show both.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
_NOW = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
"""What the bits 0 to 3 say is so now; the bits 16 to 19 say that it has been so since the start."""


@dataclass(frozen=True)
class Board:
    """The sensors of a board; `sys` is where Linux shows them."""

    sys: Path = SYS

    def temperature_c(self) -> float | None:
        """The processor's temperature, or None where the board shows none."""
        zones = sorted(self.sys.glob("class/thermal/thermal_zone*"))
        # Others are of radios and power chips; a board with one zone may call it anything.
        for zone in sorted(zones, key=lambda zone: "cpu" not in _text(zone / "type")):
            value = _text(zone / "temp")
            if re.fullmatch(r"-?\d+", value):
                return int(value) / 1000
        return None

    def throttled(self) -> int | None:
        """The bits of `vcgencmd get_throttled`, or None on a board that has no such thing."""
        for file in sorted(self.sys.glob("devices/platform/soc*/*firmware/get_throttled")):
            value = _text(file)
            if re.fullmatch(r"(0x)?[0-9a-fA-F]+", value):
                return int(value, 16)
        return _ask_firmware()

    def text(self) -> str:
        """Both in words, also where they are not known."""
        temperature = self.temperature_c()
        warm = "temperature not known" if temperature is None else f"{temperature:.1f} °C"
        return f"{warm}, {throttling_text(self.throttled())}"


def throttling_text(bits: int | None) -> str:
    """What the bits mean."""
    if bits is None:
        return "throttling not known"
    now = [name for bit, name in enumerate(_NOW) if bits >> bit & 1]
    before = [name for bit, name in enumerate(_NOW) if bits >> (bit + 16) & 1 and name not in now]
    parts = [*now, *(f"{name} earlier" for name in before)]
    return ", ".join(parts) or "not throttled"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _ask_firmware() -> int | None:
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", done.stdout.strip())
    return int(found[1], 16) if found and done.returncode == 0 else None
