"""E6: targets and tools."""

from __future__ import annotations

from ellc.error_codes.row import ErrorCode

ROWS = (
    ErrorCode(
        "E601",
        "Unknown target",
        "`--target` names a target that does not exist.",
        "Use a target that `ellc targets` lists, or `--target custom` with `--triple` and `--cpu`.",
    ),
    ErrorCode(
        "E602",
        "A custom target needs a triple",
        "`--target custom` was given without `--triple`.",
        "Give a triple, for example `--target custom --triple aarch64-unknown-linux-gnu --cpu "
        "cortex-a73`.",
    ),
    ErrorCode(
        "E603",
        "This triple is not supported",
        "ellc does not support the triple's architecture or operating system.",
        "Write all four parts of the triple, such as `armv7-unknown-linux-gnueabihf`. The report "
        "lists the supported architectures.",
    ),
    ErrorCode(
        "E604",
        "Unknown CPU or feature",
        "LLVM does not know the CPU of `--cpu` or a feature of `--features`, a feature does not "
        "begin with + or -, or the CPU belongs to another architecture than the triple.",
        "Use LLVM's names, such as `cortex-a53` and `+dotprod`.",
    ),
    ErrorCode(
        "E605",
        "llvmlite is not installed",
        "The Python package that generates code is missing; the installation is incomplete.",
        "`pip install llvmlite`, or install `ellc-compiler` again.",
    ),
    ErrorCode(
        "E606",
        "An input, an output or a state is float16",
        "The model file has numbers of 16 bits at the interface of the network, or in a state.",
        "Use float32 there. `--fp16` converts numbers between layers.",
    ),
    ErrorCode(
        "E607",
        "The target does not compute in half precision",
        "`--fp16` needs a core with arithmetic in float16 (Armv8.2 FEAT_FP16).",
        "Leave out `--fp16`, or choose a target with it, such as `pi5`, `imx93` or `mac`. "
        "`--weights f16` stores weights in 16 bits on every target, and computes in float32.",
    ),
    ErrorCode(
        "E608",
        "C code cannot compute in half precision",
        "`--emit c` was given together with `--fp16`, but C99 has no type for float16.",
        "Leave out one of the two options.",
    ),
    ErrorCode(
        "E610",
        "A C file cannot be compiled",
        "The C compiler failed or took too long. The report has its messages and the command.",
        "If you use `--cc`, check that this compiler supports the target. Otherwise remove zig's "
        "cache folder, which the report names; if that does not help, please report a bug.",
    ),
    ErrorCode(
        "E611",
        "ziglang is not installed",
        "The Python package that contains the linker is missing; the installation is incomplete.",
        "`pip install ziglang`, or name your own tools with `--cc` and `--linker`.",
    ),
    ErrorCode(
        "E612",
        "Linking failed",
        "The linker failed. The report has its messages and the command.",
        "If you use `--linker`, check that this linker supports the target. Otherwise please "
        "report a bug.",
    ),
    ErrorCode(
        "E613",
        "This kind of file cannot be linked for the target",
        "Bare-metal targets have no shared libraries, Windows linkers cannot merge objects, and "
        "`--linker` is for ELF targets only.",
        "Choose another kind of file, such as `--emit lib`, or leave out `--linker`.",
    ),
    ErrorCode(
        "E620",
        "Code for this target cannot be run here",
        "The target's code does not run on this machine, and no emulator for it was found.",
        "On Debian and Ubuntu, `apt-get install qemu-user` installs emulators for Linux targets, "
        "`apt-get install --no-install-recommends qemu-system-arm` one for Cortex-M boards, "
        "and `apt-get install nodejs` one for wasm. "
        "For other targets, copy the compiled code to the device and run it there.",
    ),
    ErrorCode(
        "E621",
        "A program of the target ended with an error",
        "Compiled code failed, took too long, or gave an answer that does not match its interface. "
        "It ran on this machine, in an emulator or on a board.",
        "Keep the library with the other files of the same `ellc compile`. If that does not help, "
        "please report a bug.",
    ),
    ErrorCode(
        "E622",
        "There is no disassembler",
        "Assembly was requested, but `llvm-objdump` is not installed or failed.",
        "Install LLVM's tools; on Debian and Ubuntu: `apt-get install llvm`.",
    ),
    ErrorCode(
        "E623",
        "The cycle model failed",
        "The program that `ELLC_CYCLE_TOOL` names ended with an error or gave no usable answer.",
        "Unset the variable: then `ellc explain` shows everything except modelled cycles.",
    ),
    ErrorCode(
        "E630",
        "Not the name of a board",
        "The text after `--ssh` is empty, begins with `-`, or has spaces or control characters.",
        "Name the board as for ssh, for example `--ssh pi@raspberrypi.local` or `--ssh "
        "ssh://pi@192.168.1.7:2222`.",
    ),
    ErrorCode(
        "E631",
        "There is no ssh client",
        "The program `ssh`, or the program that `--ssh-command` names, cannot be started.",
        "Install OpenSSH's client; on Debian and Ubuntu: `apt-get install openssh-client`.",
    ),
    ErrorCode(
        "E632",
        "No connection to the board",
        "The board does not answer, it refuses your key, its host key has changed, or the "
        "connection broke. The report has the messages of `ssh`.",
        "Make sure that `ssh HOST` works by hand without a password: `ssh-copy-id HOST` installs "
        "your key.",
    ),
    ErrorCode(
        "E633",
        "No target for this board is known",
        "ellc cannot tell from the board's answers which target fits. The report lists the "
        "answers.",
        "Name the target with `--target`.",
    ),
    ErrorCode(
        "E634",
        "The code does not run on this board",
        "The target or the library is for a CPU with other instructions, or the board's C library "
        "is older than the code needs.",
        "Leave out `--target`, compile for the board's own target, or update the board's system.",
    ),
    ErrorCode(
        "E635",
        "Files cannot be copied to the board",
        "The board has no space, the user may not write to the folder, or the folder exists and "
        "was not made by `ellc deploy`.",
        "Free some space, or name another folder with `--to`.",
    ),
    ErrorCode(
        "E636",
        "A folder, file or command for the board does not fit",
        "`--to` names the home folder or a folder above it, two files have the same name, or the "
        "command of `--service` is not a single line.",
        "Name a folder for this network only, rename the file, or put the command into a script "
        "and copy the script with `--with`.",
    ),
)
