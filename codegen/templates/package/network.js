// --- the network in WebAssembly; this part is the same for every network ---

const ARRAYS = {
  f64: Float64Array, f32: Float32Array, i64: BigInt64Array, u64: BigUint64Array, i32: Int32Array, u32: Uint32Array,
  i16: Int16Array, u16: Uint16Array, i8: Int8Array, u8: Uint8Array, bool: Uint8Array, bit: Uint8Array,
};
const PAGE_BYTES = 65536;
const INSTANCE_BYTES = 64; // more than the size of a `NAME_t`
const ALIGNMENT = 64; // the alignment of the arena; elements need less

// An instance of a network. `about` has the fields name, abi, hash, arena_bytes, inputs and outputs, as the
// manifest has them. The memory grows once, here, so that views of it remain valid.
class Network {
  #about;
  #call;

  constructor(instance, about) {
    const { memory } = instance.exports;
    const ports = [...about.inputs, ...about.outputs];
    const sizes = [INSTANCE_BYTES, 4 * ports.length, about.arena_bytes, ...ports.map((port) => port.bytes)];
    const [self, pointers, arena, ...places] = placed(memory, sizes, about.name);
    new Uint32Array(memory.buffer, pointers, ports.length).set(places);
    this.#about = about;
    this.#call = (word, ...values) => {
      const failure = instance.exports[`${about.name}_${word}`](self, ...values);
      if (failure) throw new Error(`${about.name}: ${word} failed with status ${failure}`);
    };
    this.#call("init_abi", arena, about.arena_bytes, about.abi);
    const views = ports.map((port, index) => {
      const Kind = ARRAYS[port.type];
      return [port.c_name, new Kind(memory.buffer, places[index], port.bytes / Kind.BYTES_PER_ELEMENT)];
    });
    this.inputs = Object.freeze(Object.fromEntries(views.slice(0, about.inputs.length)));
    this.outputs = Object.freeze(Object.fromEntries(views.slice(about.inputs.length)));
    this.run = () => this.#call("predict_v", pointers, pointers + 4 * about.inputs.length);
    Object.freeze(this);
  }

  predict(inputs) {
    const { name } = this.#about;
    if (typeof inputs !== "object" || inputs === null) {
      throw new TypeError(`${name}: predict takes an object of arrays, not ${described(inputs)}`);
    }
    const unknown = Object.keys(inputs).filter((key) => !Object.hasOwn(this.inputs, key));
    if (unknown.length) {
      throw new TypeError(`${name}: there is no input ${unknown.join(", ")}; inputs: ${Object.keys(this.inputs).join(", ")}`);
    }
    // Everything is checked before the first byte is copied.
    const given = Object.entries(this.inputs).map(([key, view]) => [view, checked(inputs[key], view, `${name}: input ${key}`)]);
    for (const [view, values] of given) view.set(values);
    this.run();
    return Object.fromEntries(Object.entries(this.outputs).map(([key, view]) => [key, view.slice()]));
  }

  reset() {
    this.#call("reset");
  }
}

// Returns addresses of new memory for blocks of these sizes.
function placed(memory, sizes, name) {
  let bytes = 0;
  const offsets = sizes.map((size) => {
    const offset = bytes;
    bytes += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    return offset;
  });
  try {
    const start = memory.grow(Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES;
    return offsets.map((offset) => start + offset);
  } catch (cause) {
    throw new RangeError(`${name}: there is no memory for ${bytes} bytes`, { cause });
  }
}

function checked(values, view, what) {
  const Kind = view.constructor;
  const fits = values instanceof Kind || (Kind === Uint8Array && values instanceof Uint8ClampedArray);
  if (!fits) throw new TypeError(`${what} must be a ${Kind.name} of ${view.length} elements, not ${described(values)}`);
  if (values.length !== view.length) throw new RangeError(`${what} must have ${view.length} elements, not ${values.length}`);
  return values;
}

function described(value) {
  if (value === undefined || value === null) return String(value);
  return value.constructor?.name ?? typeof value;
}

// Returns the WebAssembly.Module of a source: a URL, its response, the bytes, or a module.
async function compileNetwork(given, about) {
  const source = await given;
  if (source instanceof WebAssembly.Module) return source;
  try {
    return await WebAssembly.compile(await bytesOf(source));
  } catch (cause) {
    if (!(cause instanceof WebAssembly.CompileError)) throw cause;
    const message = `${about.name}: this is not a module that this engine can compile; it must support WebAssembly with SIMD`;
    throw new Error(`${message} (${cause.message})`, { cause });
  }
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return source;
  const isResponse = typeof Response === "function" && source instanceof Response;
  if (!isResponse && `${source}`.startsWith("file:") && globalThis.process?.versions?.node) {
    const files = "node:fs/promises"; // not a literal in `import`, so that bundlers for browsers do not look for it
    const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ files);
    return readFile(new URL(source));
  }
  const response = isResponse ? source : await fetch(source);
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}

// Returns a new instance of the network, with its own memory.
async function loadNetwork(source, about) {
  const module = await compileNetwork(source, about);
  const instance = await WebAssembly.instantiate(module, {});
  const hash = instance.exports[`${about.name}_hash`];
  const found = hash ? textAt(instance.exports.memory, hash()) : "none";
  if (found !== about.hash) {
    throw new Error(`${about.name}: script and module are not from the same run of ellc: expected hash ${about.hash}, found ${found}`);
  }
  return new Network(instance, about);
}

function textAt(memory, address) {
  const bytes = new Uint8Array(memory.buffer, address);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}

// Converts the stored integers of a quantised input or output to real numbers.
function realNumbers(values, port) {
  if (!port.quantisation) return Array.from(values, Number);
  const { scale, zero_point: zero, axis } = port.quantisation;
  const inner = port.shape.slice((axis ?? 0) + 1).reduce((a, b) => a * b, 1);
  const group = (index, list) => list[Math.floor(index / inner) % list.length];
  return Array.from(values, (value, index) => (Number(value) - group(index, zero)) * group(index, scale));
}
