"""The temperature of a board, and whether the board has lowered its clock.

A Raspberry Pi lowers its clock when it gets too hot or when its supply voltage drops. Times
measured in that state do not show the board's full speed, so the programs here print both facts.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
_NOW = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
"""What bits 0 to 3 say about the present; bits 16 to 19 say the same about any time since boot."""


@dataclass(frozen=True)
class Board:
    """The sensors of a board. `sys` is the folder in which Linux exposes them."""

    sys: Path = SYS

    def temperature_c(self) -> float | None:
        """The processor's temperature, or None if the board does not report one."""
        zones = sorted(self.sys.glob("class/thermal/thermal_zone*"))
        # Prefer the processor's zone to those of radios and power chips. A single zone may have any
        # name.
        for zone in sorted(zones, key=lambda zone: "cpu" not in _text(zone / "type")):
            value = _text(zone / "temp")
            if re.fullmatch(r"-?\d+", value):
                return int(value) / 1000
        return None

    def throttled(self) -> int | None:
        """The bits that `vcgencmd get_throttled` prints, or None if they cannot be read."""
        for file in sorted(self.sys.glob("devices/platform/soc*/*firmware/get_throttled")):
            value = _text(file)
            if re.fullmatch(r"(0x)?[0-9a-fA-F]+", value):
                return int(value, 16)
        return _ask_firmware()

    def text(self) -> str:
        """Temperature and throttling in words; "not known" stands for a missing value."""
        temperature = self.temperature_c()
        warm = "temperature not known" if temperature is None else f"{temperature:.1f} °C"
        return f"{warm}, {throttling_text(self.throttled())}"


def throttling_text(bits: int | None) -> str:
    """The states that the bits stand for, in words."""
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
