"""`ellc targets`: list the machines for which ellc compiles."""

from __future__ import annotations

from dataclasses import asdict

import click

from ellc.commands.output import bytes_text, echo, echo_json, json_option, table


@click.command("targets")
@json_option
def command(as_json: bool) -> None:
    """List the machines for which ellc compiles."""
    from ellc.codegen.machine.resolve import fixed_targets, resolve

    rows = [resolve("host"), *fixed_targets()]
    if as_json:
        echo_json(
            [
                {
                    "name": t.name,
                    "description": t.description,
                    "triple": t.triple,
                    "cpu": t.cpu,
                    "features": sorted(t.features),
                    "vector_bytes": t.vector_bytes,
                    "cores": t.cores,
                    "clock_hz": t.clock_hz,
                    "l1_bytes": t.l1_bytes,
                    "l2_bytes": t.l2_bytes,
                    "memories": [asdict(memory) for memory in t.memories],
                    "emulator": None if t.emulator is None else list(t.emulator),
                    "artefact": t.shared_suffix,
                }
                for t in rows
            ]
        )
        return
    echo(
        table(
            ("name", "cpu", "cores", "SIMD", "L2", "makes", "what it is"),
            [
                (
                    t.name,
                    t.cpu,
                    t.cores,
                    f"{t.vector_bytes * 8} bit" if t.vector_bytes > 4 else "none",
                    bytes_text(t.l2_bytes) if t.l2_bytes else "none",
                    t.shared_suffix,
                    t.description,
                )
                for t in rows
            ],
            right="  rrr",
        )
    )
    echo("custom: any other machine, described by --triple, --cpu and --features")
