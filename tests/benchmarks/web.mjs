// Times networks in Node: ellc's module, onnxruntime-web and TensorFlow.js (its WebAssembly backend), each on one
// thread, in turns. `node web.mjs TASK.json` prints JSON; web.py writes the task.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const task = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const packages = createRequire(`${task.packages}/package.json`);
const imported = (name) => import(pathToFileURL(packages.resolve(name)));

// Uniform numbers, as pixels in rows of channels (NHWC), and the same pixels in planes (NCHW).
function picture({ type, shape }) {
  const Kind = type === "f32" ? Float32Array : type === "u8" ? Uint8Array : Int8Array;
  let state = 1;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const rows = Kind.from({ length: shape.reduce((a, b) => a * b, 1) }, () =>
    type === "f32" ? 2 * next() - 1 : Math.floor(256 * next()) - (type === "i8" ? 128 : 0));
  const [, height, width, channels] = shape;
  const planes = rows.map((_, index) => rows[(index % (height * width)) * channels + Math.floor(index / (height * width))]);
  return { rows, planes };
}

async function ellc(network, pixels) {
  const { load } = await import(pathToFileURL(network.module));
  const ready = await load();
  const [[input]] = Object.entries(ready.inputs);
  const given = { [input]: network.planes ? pixels.planes : pixels.rows };
  return async () => Object.values(ready.predict(given))[0];
}

async function onnxRuntime(network, pixels) {
  const ort = await imported("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(readFileSync(network.onnx), { executionProviders: ["wasm"] });
  const [n, h, w, c] = network.shape;
  const types = { f32: "float32", i8: "int8", u8: "uint8" };
  const shape = network.planes ? [n, c, h, w] : network.shape;
  const tensor = new ort.Tensor(types[network.type], network.planes ? pixels.planes : pixels.rows, shape);
  return async () => (await session.run({ [session.inputNames[0]]: tensor }))[session.outputNames[0]].data;
}

async function tensorFlow(network, pixels) {
  const tf = packages("@tensorflow/tfjs-core");
  const wasm = packages("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(`${task.packages}/node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/`);
  tf.enableProdMode();
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  await tf.setBackend("wasm");
  const bytes = readFileSync(network.layers.weights);
  const floats = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const weights = network.layers.arrays.map(({ offset, shape }) =>
    tf.tensor(floats.slice(offset, offset + shape.reduce((a, b) => a * b, 1)), shape));
  const image = tf.tensor(pixels.rows, network.shape);
  return async () => {
    const output = tf.tidy(() => {
      const values = { input: image };
      for (const layer of network.layers.steps) values[layer.result] = step(tf, layer, layer.operands.map((x) => values[x]), weights);
      return values[network.layers.steps.at(-1).result];
    });
    const data = output.dataSync();
    output.dispose();
    return data;
  };
}

function step(tf, { kind, pad, strides, window, shape, activation, filter, bias }, [x, y], weights) {
  const layer = { x, strides, pad, filter: weights[filter], bias: weights[bias], activation };
  switch (kind) {
    case "conv": return tf.fused.conv2d(layer);
    case "depthwise": return tf.fused.depthwiseConv2d(layer);
    case "dense": return tf.fused.matMul({ a: x, b: weights[filter], bias: weights[bias], activation });
    case "add": return activation === "relu" ? tf.relu(tf.add(x, y)) : tf.add(x, y);
    case "mean": return tf.mean(x, [1, 2], true);
    case "average": return tf.avgPool(x, window, strides, pad);
    case "reshape": return tf.reshape(x, shape);
    case "softmax": return tf.softmax(x);
    default: throw new Error(`there is no step ${kind}`);
  }
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

// Milliseconds of processor time since an earlier result of process.cpuUsage(): other processes do not count.
function spent(since) {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1e3;
}

const ENGINES = { ellc, onnxRuntime, tensorFlow };

async function measured(network) {
  const pixels = picture(network);
  const calls = {};
  const outputs = {};
  for (const name of network.engines) {
    calls[name] = await ENGINES[name](network, pixels);
    for (let warm = 0; warm < task.warm; warm += 1) outputs[name] = await calls[name]();
  }
  const times = Object.fromEntries(network.engines.map((name) => [name, []]));
  for (let round = 0; round < task.rounds; round += 1) {
    for (const name of network.engines) {
      const start = process.cpuUsage();
      let count = 0;
      while (spent(start) < task.slice_ms) {
        for (let call = 0; call < 5; call += 1) await calls[name]();
        count += 5;
      }
      times[name].push(spent(start) / count);
    }
  }
  const apart = (name) => Math.max(...outputs[name].map((value, index) => Math.abs(value - outputs.ellc[index])));
  return {
    ms: Object.fromEntries(network.engines.map((name) => [name, median(times[name])])),
    apart: Object.fromEntries(network.engines.map((name) => [name, apart(name)])),
  };
}

const results = [];
for (const network of task.networks) results.push(await measured(network));
console.log(JSON.stringify(results));
