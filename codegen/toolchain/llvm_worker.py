"""The child process that runs LLVM: reads jobs from standard input, writes to standard output.

The parent runs this file as a script (see `llvm.py`). The script imports only the standard library
and llvmlite, so that it starts quickly and does not depend on the state of the parent. On some
errors, such as "Cannot select", LLVM aborts the process. The parent then sees that the pipe is
closed.

A message in either direction consists of its length, as 4 little-endian bytes, and its content. A
request consists of two messages: JSON, and the IR text. An answer is a message whose first byte is
`R` (result), `E` (the message of an error) or `C` (LLVM does not know the CPU or a feature). After
`R`, a second message contains what LLVM printed during the job: remarks on stack frames.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

LENGTH_BYTES = 4


class UnknownCpu(Exception):
    """LLVM printed that it ignores a CPU or feature name."""


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the next message, or None at the end of the stream."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "little")
    body = stream.read(length)
    return body if len(body) == length else None


def write_message(stream: BinaryIO, *parts: bytes) -> None:
    """Write the parts as one message, and flush the stream."""
    stream.write(sum(map(len, parts)).to_bytes(LENGTH_BYTES, "little"))
    for part in parts:
        stream.write(part)
    stream.flush()


def _stderr_since(start: int) -> str:
    """The content of standard error, which is a file, from an offset on: at most 1 MiB."""
    os.lseek(2, start, os.SEEK_SET)
    text = os.read(2, 1 << 20).decode(errors="replace")
    os.lseek(2, 0, os.SEEK_END)
    return text


# LLVM options that keep instructions in the order of the kernel.
_AS_WRITTEN = ("--enable-misched=false", "--enable-post-misched=false", "--pre-RA-sched=source")


class Compiler:
    """Runs LLVM. Requests with the same target options share one target machine."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        self.llvm = llvm
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        self.machines: dict[tuple[Any, ...], Any] = {}

    def machine(self, request: dict[str, Any]) -> Any:
        """Return the target machine for a request.

        Raises `UnknownCpu` if LLVM ignores the name of the CPU or of a feature.
        """
        key = tuple(
            request[name] for name in ("triple", "cpu", "features", "abi", "reloc", "codegen_level")
        )
        if key not in self.machines:
            triple, cpu, features, abi, reloc, level = key
            self.set_order(request["as_written"])
            start = os.lseek(2, 0, os.SEEK_END)
            machine = self.llvm.Target.from_triple(triple).create_target_machine(
                cpu=cpu,
                features=features,
                opt=level,
                reloc=reloc,
                codemodel="small",
                abiname=abi,
            )
            complaint = _stderr_since(start)
            if "is not a recognized" in complaint:
                raise UnknownCpu(complaint.strip())
            self.machines[key] = machine
        return self.machines[key]

    def set_order(self, as_written: bool) -> None:
        """If `as_written`, switch off LLVM's schedulers before the first machine is made.

        The options apply to the whole process, whose requests all have the same `as_written`.
        """
        if as_written and not self.machines:
            for option in _AS_WRITTEN:
                self.llvm.set_option("ellc", option)

    def compile(self, request: dict[str, Any], text: str) -> bytes:
        """Compile one module, in a new context, so that names do not depend on earlier modules."""
        machine = self.machine(request)
        layout = str(machine.target_data)
        module = self.llvm.parse_assembly(text, self.llvm.create_context())
        if module.triple not in ("", request["triple"]) or module.data_layout not in ("", layout):
            raise RuntimeError(
                f"the module is for {module.triple!r} with layout {module.data_layout!r}; "
                f"the target is {request['triple']!r} with {layout!r}"
            )
        module.triple = request["triple"]
        module.data_layout = layout
        module.name = "ellc"
        module.verify()
        self.optimize(request["passes"].split(), machine, module)
        match request["emit"]:
            case "object":
                return bytes(machine.emit_object(module))
            case "asm":
                return str(machine.emit_assembly(module)).encode()
            case "bitcode":
                return bytes(module.as_bitcode())
            case _:
                return str(module).encode()

    def optimize(self, names: list[str], machine: Any, module: Any) -> None:
        """Run the passes in this order."""
        passes = self.llvm.create_new_module_pass_manager()
        for name in names:
            getattr(passes, f"add_{name}_pass")()
        options = self.llvm.create_pipeline_tuning_options()
        passes.run(module, self.llvm.create_pass_builder(machine, options))


def main() -> None:
    """Answer requests until standard input ends."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not appear between the messages
    compiler = Compiler()
    while (head := read_message(stdin)) is not None:
        body = read_message(stdin)
        if body is None:
            return
        start = os.lseek(2, 0, os.SEEK_END)
        try:
            result = compiler.compile(json.loads(head), body.decode())
        except UnknownCpu as error:
            write_message(stdout, b"C", str(error).encode())
        except Exception as error:
            write_message(stdout, b"E", f"{type(error).__name__}: {error}".encode())
        else:
            write_message(stdout, b"R", result)
            write_message(stdout, _stderr_since(start).encode())


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    main()
