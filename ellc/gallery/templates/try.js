"use strict";

// The page on which a visitor tries a network. Pictures stay on the visitor's machine.

const about = JSON.parse(document.getElementById("network").dataset.about);
const { rows, columns, channels, order, labels } = about;
const status = document.getElementById("status");
const answers = document.getElementById("answers");
const seen = document.getElementById("seen");
const chooser = document.getElementById("file");
const MOST_PIXELS = 64e6;
const MOST_ROWS = 5;
const LEAST_TIME = 40; // the least milliseconds of timed calls, because a clock may be coarse
const MOST_CALLS = 50;

const network = loadNetwork(moduleBytes(), about);

function moduleBytes() {
  const text = atob(document.getElementById("module").content.textContent.trim());
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function say(text) {
  status.textContent = text;
}

// --- from a picture to its classes ---

// The bytes of a picture in the colour order of the network.
const inOrder = (picture) => {
  if (channels === 1 || order === "rgb") return picture.data;
  const swapped = picture.data.slice();
  for (let n = 0; n < swapped.length; n += 3) [swapped[n], swapped[n + 2]] = [swapped[n + 2], swapped[n]];
  return swapped;
};

function shares(scores) {
  if (about.probabilities) return scores;
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function timed(ready, values) {
  const inputs = { [about.inputs[0].c_name]: values };
  const output = ready.predict(inputs)[about.outputs[0].c_name]; // this first call also warms the caches
  const start = performance.now();
  let calls = 0;
  let spent = 0;
  while (calls < MOST_CALLS && spent < LEAST_TIME) {
    ready.reset();
    ready.predict(inputs);
    calls += 1;
    spent = performance.now() - start;
  }
  return { output, ms: spent / calls, calls };
}

async function classify(picture, what) {
  const ready = await network;
  ready.reset();
  const { output, ms, calls } = timed(ready, inOrder(picture));
  const probabilities = shares(realNumbers(output, about.outputs[0]));
  const order = probabilities.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  const best = order.slice(0, MOST_ROWS);
  show(picture);
  answers.replaceChildren(...best.map((index) => answer(index, probabilities[index])));
  answers.parentElement.hidden = false;
  const time = `${Number(ms.toPrecision(3))} ms a prediction, in this browser (mean of ${calls} call${calls > 1 ? "s" : ""})`;
  say(`${what}: ${label(best[0])}, ${percent(probabilities[best[0]])}. ${time}.`);
}

const label = (index) => labels[index] || `class ${index}`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function answer(index, share) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = label(index);
  const number = document.createElement("td");
  number.className = "n number";
  number.textContent = percent(share);
  const place = document.createElement("td");
  place.className = "bar";
  const bar = document.createElement("span");
  bar.style.width = `${Math.max(0.4, 100 * share)}%`;
  place.append(bar);
  place.setAttribute("aria-hidden", "true");
  row.append(head, number, place);
  row.dataset.index = index;
  row.dataset.share = share;
  return row;
}

// Shows the pixels that the network gets.
function show(picture) {
  const image = new ImageData(columns, rows);
  for (let pixel = 0; pixel < rows * columns; pixel += 1) {
    for (let colour = 0; colour < 3; colour += 1) {
      image.data[4 * pixel + colour] = picture.data[pixel * channels + (channels === 3 ? colour : 0)];
    }
    image.data[4 * pixel + 3] = 255;
  }
  seen.width = columns;
  seen.height = rows;
  seen.getContext("2d").putImageData(image, 0, 0);
  seen.parentElement.hidden = false;
}

// --- pictures ---

async function readPicture(file) {
  const options = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options);
  if (bitmap.width * bitmap.height > MOST_PIXELS) throw new RangeError("the picture has too many pixels");
  const box = cropBox(bitmap.width, bitmap.height, rows, columns);
  const canvas = document.createElement("canvas");
  canvas.width = box.width;
  canvas.height = box.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, -box.left, -box.top);
  bitmap.close();
  const { data } = context.getImageData(0, 0, box.width, box.height);
  return scaledTo(withoutAlpha(data, box.width, box.height, channels), rows, columns);
}

let latest = 0; // the number of the latest picture; the answer to an earlier picture is not shown

async function tryFile(file) {
  latest += 1;
  const number = latest;
  say(`${file.name} is being read.`);
  let picture;
  try {
    picture = await readPicture(file);
  } catch (problem) {
    if (number === latest) say(problem instanceof RangeError ? `${file.name}: ${problem.message}.` : `${file.name} is not a picture that this browser can read.`);
    return;
  }
  if (number === latest) await tryPicture(picture, file.name);
}

async function tryPicture(picture, what) {
  try {
    await classify(picture, what);
  } catch (problem) {
    const old = problem instanceof WebAssembly.CompileError || problem instanceof TypeError;
    say(old ? "This browser cannot run the network: it needs WebAssembly with SIMD." : `The network cannot be run: ${problem.message}.`);
  }
}

chooser.addEventListener("change", () => chooser.files.length && tryFile(chooser.files[0]));
chooser.addEventListener("click", () => { chooser.value = ""; }); // so that the same file can be chosen again
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const [file] = event.dataTransfer.files;
  if (file) tryFile(file);
  else say("No file was dropped: save the picture first, and drop the file.");
});

// --- a drawing ---

const paper = document.getElementById("draw");

function clearPaper() {
  const pen = paper.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, paper.width, paper.height);
}

function tryDrawing() {
  const { width, height } = paper;
  const { data } = paper.getContext("2d").getImageData(0, 0, width, height);
  const around = centred(withoutAlpha(data, width, height, 1), about.drawing);
  if (!around) return;
  latest += 1;
  tryPicture(scaledTo(around, rows, columns), "Your drawing");
}

function startDrawing(event) {
  if (event.button !== 0) return;
  event.preventDefault();
  const pen = paper.getContext("2d");
  const box = paper.getBoundingClientRect();
  const at = (now) => [(now.clientX - box.left) * paper.width / box.width, (now.clientY - box.top) * paper.height / box.height];
  Object.assign(pen, { strokeStyle: "#fff", lineWidth: paper.width / 11, lineCap: "round", lineJoin: "round" });
  let last = at(event);
  const line = (to) => {
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...to);
    pen.stroke();
    last = to;
  };
  line(last);
  paper.setPointerCapture(event.pointerId);
  const move = (now) => line(at(now));
  const end = () => {
    paper.removeEventListener("pointermove", move);
    paper.removeEventListener("pointerup", end);
    paper.removeEventListener("pointercancel", end);
    tryDrawing();
  };
  paper.addEventListener("pointermove", move);
  paper.addEventListener("pointerup", end);
  paper.addEventListener("pointercancel", end);
}

if (paper) {
  clearPaper();
  paper.addEventListener("pointerdown", startDrawing);
  document.getElementById("clear").addEventListener("click", () => {
    clearPaper();
    say("The drawing is cleared.");
  });
}

network.then(
  () => say("The network is ready."),
  () => say("This browser cannot run the network: it needs WebAssembly with SIMD."),
);
