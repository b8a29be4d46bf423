# NXP's i.MX RT1050 (MIMXRT1050-EVKB). QEMU's Cortex-M7 board has memory at the same addresses, but starts
# with the vectors at address 0.
TARGET := --target imxrt1050
MEMORY := itcm=128K,dtcm=64K,ocram=256K,flash=1M
CPU := cortex-m7
FPU := fpv5-d16
QEMU := -machine mps2-an500 -device loader,file=$(OUT)/vectors.bin,addr=0,force-raw=on
SOURCES := boards/imxrt_boot.c
