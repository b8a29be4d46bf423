# Arm's MPS2 board with a Cortex-M33, emulated.
TARGET := --target mcxn947
MEMORY := itcm=64K,ram=64K,flash=1M
CPU := cortex-m33
FPU := fpv5-sp-d16
QEMU := -machine mps2-an505
