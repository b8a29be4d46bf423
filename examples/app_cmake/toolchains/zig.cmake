# Sets up zig as a cross compiler for ZIG_TARGET. zig may be a program or the Python package
# `ziglang`, which ellc needs as well. The other files of this folder set the target and include
# this file.
set(CMAKE_SYSTEM_NAME Linux)
find_program(ZIG_PROGRAM zig)
find_program(ZIG_PYTHON NAMES python python3)
mark_as_advanced(ZIG_PROGRAM ZIG_PYTHON)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG_PROGRAM ZIG_PYTHON)
if(ZIG_PROGRAM)
    set(zig "${ZIG_PROGRAM}")
else()
    set(zig "${ZIG_PYTHON}" -m ziglang)
    execute_process(COMMAND ${zig} version RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
    if(NOT status EQUAL 0)
        message(FATAL_ERROR "no zig is found: pip install ziglang in the environment whose `python` "
            "is in PATH, or install zig itself")
    endif()
endif()

# CMake accepts a list of words as a compiler, but only a single program as a tool.
set(CMAKE_C_COMPILER ${zig} cc -target ${ZIG_TARGET})
set(CMAKE_CXX_COMPILER ${zig} c++ -target ${ZIG_TARGET})
string(REPLACE ";" "\" \"" quoted "\"${zig}\"")
foreach(tool ar ranlib)
    string(TOUPPER CMAKE_${tool} variable)
    set(${variable} "${CMAKE_BINARY_DIR}/zig-${tool}" CACHE FILEPATH "" FORCE)
    file(WRITE "${CMAKE_BINARY_DIR}/CMakeFiles/zig-${tool}" "#!/bin/sh\nexec ${quoted} ${tool} \"$@\"\n")
    file(COPY "${CMAKE_BINARY_DIR}/CMakeFiles/zig-${tool}" DESTINATION "${CMAKE_BINARY_DIR}"
        FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endforeach()

# Find programs on this machine, never under a root path of the target.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

# With an emulator, `ctest` and `cmake --build` can run programs that were built for the target.
find_program(ZIG_EMULATOR qemu-${CMAKE_SYSTEM_PROCESSOR})
mark_as_advanced(ZIG_EMULATOR)
if(ZIG_EMULATOR)
    set(CMAKE_CROSSCOMPILING_EMULATOR "${ZIG_EMULATOR};-L;${ZIG_SYSROOT}")
endif()
