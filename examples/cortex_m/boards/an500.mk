# Arm's MPS2 board with a Cortex-M7, emulated.
TARGET := --target imxrt1050
MEMORY := itcm=64K,ram=64K,flash=1M
CPU := cortex-m7
FPU := fpv5-d16
QEMU := -machine mps2-an500
