# Raspberry Pi 2 to 5 and Zero 2 with a 32-bit system: `ellc compile --target pi3`.
set(CMAKE_SYSTEM_PROCESSOR arm)
set(ZIG_TARGET arm-linux-gnueabihf.2.28)
set(ZIG_SYSROOT /usr/arm-linux-gnueabihf) # Debian: libc6-armhf-cross
include("${CMAKE_CURRENT_LIST_DIR}/zig.cmake")
