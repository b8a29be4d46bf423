# NXP's MCX N947 (FRDM-MCXN947), its first Cortex-M33. QEMU has no such memory: only on the board.
TARGET := --target mcxn947
MEMORY := ramx=96K,ram=256K,flash=1M
CPU := cortex-m33
FPU := fpv5-sp-d16
