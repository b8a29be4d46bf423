#!/bin/sh
# Compile trained networks for this machine and for the Raspberry Pi 3, run them on a picture they
# have never seen, and print the five best classes. The Pi's code runs under qemu-arm if that is there.
#
#     sh examples/demo/run.sh [OUTPUT_FOLDER]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/out}
networks=$here/../digits
picture=$networks/images/nine.png

say() { printf '\n== %s\n' "$*"; }

run_on_pi() { # library, options
    if command -v qemu-arm >/dev/null 2>&1; then
        ellc run "$@" "$picture"
    else
        echo "qemu-arm is not there (Debian: apt-get install qemu-user), so this is not run here"
    fi
}

say "two networks trained on handwritten digits: one in float, one with binary convolutions"
ellc inspect "$networks/digits_binary.ell"

for name in digits_float digits_binary; do
    say "$name, compiled for this machine"
    ellc compile "$networks/$name.ell" --target host -o "$out/host"
    ellc run "$out/host/lib$name.so" "$picture"
    ellc bench "$out/host/lib$name.so" --seconds 0.3

    say "$name, compiled for the Raspberry Pi 3"
    ellc compile "$networks/$name.ell" --target pi3 -o "$out/pi3"
    run_on_pi "$out/pi3/lib$name.so"
done

say "the first as an ONNX file, compiled to take a camera's pixels: the scaling is done inside"
python "$networks/to_onnx.py" "$out/digits.onnx"
ellc compile "$out/digits.onnx" --scale 1/255 --target pi3 -o "$out/pi3"
run_on_pi "$out/pi3/libdigits.so" --labels "$networks/images/labels.txt"

say "what goes to the board: $out/pi3"
ls "$out/pi3"
