"""Tools that turn emitted code into files, and run the files.

| module | what |
|---|---|
| `llvm` | LLVM IR text to objects, in child processes |
| `elf` | constant data to objects |
| `link` | objects to shared libraries, relocatable objects, archives |
| `zig` | the only module that starts zig |
| `emulate` | static test programs for a target, run under its emulator |
| `disassemble` | the instructions of an object |
"""
