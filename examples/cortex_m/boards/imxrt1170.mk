# NXP's i.MX RT1170 (MIMXRT1170-EVK), its Cortex-M7. QEMU has no such memory: only on the board.
TARGET := --target imxrt1170
MEMORY := itcm=256K,dtcm=128K,ocram=1M,flash=1M
CPU := cortex-m7
FPU := fpv5-d16
SOURCES := boards/imxrt_boot.c
DEFINES := -DFLASH_BEGIN=0x30000000u
