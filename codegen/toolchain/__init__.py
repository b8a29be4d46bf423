"""Everything that turns finished code into files, and runs them.

| module | what |
|---|---|
| `llvm` | LLVM IR text to objects, in child processes |
| `elf` | constant data to objects |
| `link` | objects to shared libraries, relocatable objects, archives |
| `zig` | the one place that starts zig |
| `emulate` | static test programs for a target, run under its emulator |
| `disassemble` | which instructions an object holds |
"""
