"""E6: targets and tools."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E601",
        "Unknown target",
        "`--target` names a target that does not exist.",
        "`ellc targets` lists all; `--target custom` takes `--triple` and `--cpu`.",
    ),
    ErrorCode(
        "E602",
        "A custom target needs a triple",
        "`--target custom` was given without `--triple`.",
        "For example `--target custom --triple aarch64-unknown-linux-gnu --cpu cortex-a73`.",
    ),
    ErrorCode(
        "E603",
        "This triple is not supported",
        "ellc does not support the triple's architecture or operating system.",
        "Write all four parts, such as `armv7-unknown-linux-gnueabihf`. The report lists the "
        "architectures.",
    ),
    ErrorCode(
        "E604",
        "Unknown CPU or feature",
        "LLVM does not know `--cpu` or a feature of `--features`, a feature has no + or - before "
        "it, or the CPU belongs to another architecture than the triple.",
        "Use LLVM's names, such as `cortex-a53` and `+dotprod`.",
    ),
    ErrorCode(
        "E605",
        "llvmlite is not installed",
        "The Python package that generates code is missing; the installation is incomplete.",
        "`pip install llvmlite`, or install `ellc-compiler` again.",
    ),
    ErrorCode(
        "E610",
        "A C file cannot be compiled",
        "The compiler failed or ran out of time. The report holds its messages and the command.",
        "With `--cc`, check that this compiler supports the target. Without it, this is a bug of "
        "ellc or a damaged cache folder of zig, which the report names.",
    ),
    ErrorCode(
        "E611",
        "ziglang is not installed",
        "The Python package that holds the linker is missing; the installation is incomplete.",
        "`pip install ziglang`, or name your own tools with `--cc` and `--linker`.",
    ),
    ErrorCode(
        "E612",
        "Linking failed",
        "The linker failed; the report holds its messages and the command.",
        "With `--linker`, check that it supports the target. Without it, please report a bug.",
    ),
    ErrorCode(
        "E613",
        "This kind of file cannot be linked for the target",
        "Bare-metal targets have no shared libraries, Windows linkers cannot merge objects, and "
        "`--linker` is for ELF targets only.",
        "Choose another kind, such as `--emit lib`, or leave out `--linker`.",
    ),
    ErrorCode(
        "E620",
        "Code for this target cannot be run here",
        "The target's code does not run on this machine, and there is no emulator for it.",
        "On Debian and Ubuntu `apt-get install qemu-user` installs emulators for Linux targets. "
        "Code for other targets can be compiled, but not run here.",
    ),
    ErrorCode(
        "E621",
        "A program of the target ended with an error",
        "Compiled code that was run here or under an emulator failed, took too long, or gave an "
        "answer that does not match its interface.",
        "Use the library with the files of the same `ellc compile`; otherwise please report a bug.",
    ),
    ErrorCode(
        "E622",
        "There is no disassembler",
        "Assembly was requested, but `llvm-objdump` is not installed or failed.",
        "On Debian and Ubuntu: `apt-get install llvm`.",
    ),
    ErrorCode(
        "E623",
        "The cycle model failed",
        "The program that `ELLC_CYCLE_TOOL` names ended with an error or gave no usable answer.",
        "Unset the variable; then `ellc explain` shows everything but modelled cycles.",
    ),
    ErrorCode(
        "E630",
        "Not the name of a board",
        "The text after `--ssh` is empty, begins with `-`, or holds spaces or control characters.",
        "For example `--ssh pi@raspberrypi.local`, or `--ssh ssh://pi@192.168.1.7:2222`.",
    ),
    ErrorCode(
        "E631",
        "There is no ssh client",
        "The program `ssh`, or the one that `--ssh-command` names, cannot be started.",
        "Install OpenSSH's client; on Debian and Ubuntu: `apt-get install openssh-client`.",
    ),
    ErrorCode(
        "E632",
        "No connection to the board",
        "The board does not answer, refuses the key, has another host key than before, or the "
        "connection broke. The report holds what `ssh` said.",
        "`ssh HOST` must work by hand, without a password: `ssh-copy-id HOST` installs your key.",
    ),
    ErrorCode(
        "E633",
        "The board is like no target",
        "No target follows from what the board says of its CPU. The report lists the answers.",
        "Name the target with `--target`.",
    ),
    ErrorCode(
        "E634",
        "The code does not run on this board",
        "`--target`, or the library, is for a CPU with other instructions, or the board's C "
        "library is older than what the code needs.",
        "Leave out `--target`, compile for the board's own target, or update the board's system.",
    ),
    ErrorCode(
        "E635",
        "Files cannot be put on the board",
        "The board has no space, the user may not write there, or the folder exists and was not "
        "made by `ellc deploy`.",
        "Free some space, or name another folder with `--to`.",
    ),
    ErrorCode(
        "E636",
        "A folder, file or command for the board does not fit",
        "`--to` names the home folder or one above it, two files have the same name, or the "
        "command of `--service` is no single line.",
        "Name a folder of its own; rename the file; put the command into a script, with `--with`.",
    ),
)
