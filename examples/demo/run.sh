#!/bin/sh
# Compile a trained network for this machine and for the Raspberry Pi 3, run both on a picture it has
# never seen, and print the five best classes. The Pi's code runs under qemu-arm where that is there.
#
#     sh examples/demo/run.sh [OUTPUT_FOLDER]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/out}
model=$here/../digits/digits_float.ell
picture=$here/digit.png

say() { printf '\n== %s\n' "$*"; }

say "a network trained on handwritten digits"
ellc inspect "$model"

say "compiled for this machine"
ellc compile "$model" --target host --name digits -o "$out/host"
ellc run "$out/host/libdigits.so" "$picture"
ellc bench "$out/host/libdigits.so" --seconds 0.5

say "compiled for the Raspberry Pi 3"
ellc compile "$model" --target pi3 --name digits -o "$out/pi3"
if command -v qemu-arm >/dev/null 2>&1; then
    ellc run "$out/pi3/libdigits.so" "$picture"
else
    echo "qemu-arm is not there (Debian: apt-get install qemu-user), so the Pi's code is not run"
fi

say "the folder $out/pi3 is what goes to the board"
ls "$out/pi3"
