"use strict";

// Runs a network compiled by `ellc compile --target wasm`. This script does not depend on the page.
// `about` has the necessary fields of the network's manifest, and `bytes` is the module.

const ARRAYS = {
  f64: Float64Array, f32: Float32Array, i64: BigInt64Array, u64: BigUint64Array, i32: Int32Array, u32: Uint32Array,
  i16: Int16Array, u16: Uint16Array, i8: Int8Array, u8: Uint8Array, bool: Uint8Array,
};
const PAGE_BYTES = 65536;
const INSTANCE_BYTES = 64; // more than the size of a `NAME_t`
const ALIGNMENT = 64; // the alignment of the arena; elements need less
const aligned = (bytes) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

// Returns an object with two functions. `predict` takes the typed arrays of the inputs, in order,
// and returns the typed arrays of the outputs. `reset` resets the states of the network.
async function loadNetwork(bytes, about) {
  const { instance } = await WebAssembly.instantiate(bytes);
  const call = (name, ...values) => instance.exports[`${about.name}_${name}`](...values);
  const { memory } = instance.exports;

  // The memory of the network follows the initial memory of the module. `offset` counts from there.
  let offset = 0;
  const place = (size) => {
    const at = offset;
    offset += aligned(size);
    return at;
  };
  const ports = [...about.inputs, ...about.outputs];
  const self = place(INSTANCE_BYTES);
  const pointers = place(ports.length * 4);
  const arena = place(about.arena_bytes);
  const places = ports.map((port) => place(port.bytes));
  const start = memory.grow(Math.ceil(offset / PAGE_BYTES)) * PAGE_BYTES;
  new Uint32Array(memory.buffer, start + pointers, ports.length).set(places.map((at) => start + at));
  const failed = call("init_abi", start + self, start + arena, about.arena_bytes, about.abi);
  if (failed) throw new Error(`the network cannot be initialised: ${failed}`);

  const view = (number) => {
    const Kind = ARRAYS[ports[number].type];
    return new Kind(memory.buffer, start + places[number], ports[number].bytes / Kind.BYTES_PER_ELEMENT);
  };
  const outputs = about.outputs.map((_, number) => about.inputs.length + number);
  return {
    predict(inputs) {
      inputs.forEach((values, number) => view(number).set(values));
      const answer = call("predict_v", start + self, start + pointers, start + pointers + 4 * about.inputs.length);
      if (answer) throw new Error(`the network cannot be run: ${answer}`);
      return outputs.map((number) => view(number).slice());
    },
    reset: () => call("reset", start + self),
  };
}

// Converts the stored integers of a quantised output to real numbers.
function realNumbers(values, port) {
  if (!port.quantisation) return Array.from(values, Number);
  const { scale, zero_point: zero } = port.quantisation;
  return Array.from(values, (value) => (Number(value) - zero[0]) * scale[0]);
}
