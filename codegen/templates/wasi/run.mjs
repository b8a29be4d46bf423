// Runs a WebAssembly program with the system interface WASI: node run.mjs PROGRAM ARGUMENTS...

import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const args = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args, returnOnExit: false });
const module = new WebAssembly.Module(readFileSync(args[0]));
wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));
