"""Tools that turn emitted code into files, and run the files.

| module | what |
|---|---|
| `llvm`, `llvm_worker` | LLVM IR text to objects or assembly text, in child processes |
| `compile_c`, `assemble` | C files and assembly text to objects |
| `elf`, `guarded_constants` | constant data to objects |
| `link`, `system_libraries` | objects to shared libraries, relocatable objects, archives |
| `localize` | hides the symbols of an object that are not part of its API |
| `zig` | the only module that starts zig |
| `emulate`, `repeats` | static test programs for a target, run directly or under its emulator |
| `load` | shared libraries for a target, run directly or under its emulator |
| `elf_reader`, `disassemble` | the contents and the instructions of ELF files |
"""
