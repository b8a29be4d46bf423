"""Save a folder of pictures as binary PPM files, which a program can read without a library.

python3 to_ppm.py PICTURES FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    from frames import from_folder
    from PIL import Image
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: sudo apt-get install python3-numpy python3-pil") from None


def main() -> None:
    """Run the program."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: to_ppm.py PICTURES FOLDER")
    folder = Path(sys.argv[2])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, pixels in from_folder(Path(sys.argv[1])):
            Image.fromarray(pixels).save(folder / f"{Path(name).stem}.ppm")
    except OSError as error:
        raise SystemExit(f"{folder}: {error.strerror}") from None


if __name__ == "__main__":
    main()
