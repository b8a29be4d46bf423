# Raspberry Pi 3, 4, 5 and Zero 2 with a 64-bit system: `ellc compile --target pi3_64` or newer.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(ZIG_TARGET aarch64-linux-gnu.2.28)
set(ZIG_SYSROOT /usr/aarch64-linux-gnu) # Debian: libc6-arm64-cross
include("${CMAKE_CURRENT_LIST_DIR}/zig.cmake")
