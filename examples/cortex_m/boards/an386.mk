# Arm's MPS2 board with a Cortex-M4, emulated.
TARGET := --target custom --triple thumbv7em-unknown-none-eabihf --cpu cortex-m4
MEMORY := itcm=64K,ram=64K,flash=1M
CPU := cortex-m4
FPU := fpv4-sp-d16
QEMU := -machine mps2-an386
