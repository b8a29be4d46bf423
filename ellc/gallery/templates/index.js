"use strict";

// The figures come from the attributes of the table's rows. Table and plot show the rows that pass
// the filters. The state of the filters is kept in the address, so that "back" restores it.

const form = document.getElementById("filters");
const plot = document.getElementById("plot");
const body = document.querySelector("#models tbody");
const heads = [...document.querySelectorAll("#models thead th")];
const NUMBERS = ["image", "top1", "top5", "ms", "threads", "parameters", "weights", "ram"];
const MEANINGS = { measured: "measured here", modelled: "modelled", published: "published" };
const SHAPES = {
  fp32: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
  int8: "M-4.6 -4.6H4.6V4.6H-4.6Z",
  binary: "M0 -6L5.6 4.4H-5.6Z",
  fp16: "M0 -6.2L6.2 0L0 6.2L-6.2 0Z",
};

const rows = [...body.rows].map((element, place) => {
  const row = { element, place, ...element.dataset };
  for (const key of NUMBERS) row[key] = row[key] === "" ? NaN : Number(row[key]);
  row.page = element.querySelector("a").getAttribute("href");
  return row;
});

// --- filters ---

function chosen() {
  const data = new FormData(form);
  return {
    words: data.get("q").trim().toLowerCase().split(/\s+/),
    dataset: data.get("dataset"),
    board: data.get("board"),
    size: new Set(data.getAll("size")),
    precision: new Set(data.getAll("precision")),
    speed: new Set(data.getAll("speed")),
    linear: data.has("linear"),
    front: data.has("front"),
    sort: data.get("sort"),
    direction: data.get("direction"),
  };
}

// A group of chips filters nothing if none of its chips is on.
const among = (set, value) => set.size === 0 || set.has(value);

function passes(row, want) {
  const name = row.name.toLowerCase();
  return want.words.every((word) => name.includes(word))
    && (want.dataset === "" || row.dataset === want.dataset)
    && (want.board === "" || row.board === want.board)
    && among(want.size, row.size) && among(want.precision, row.precision)
    && among(want.speed, row.speed);
}

// Hide the chips that no row of the data set has, unless they are on.
function showChips(want) {
  const ofData = rows.filter((row) => want.dataset === "" || row.dataset === want.dataset);
  for (const key of ["size", "precision"]) {
    const values = new Set(ofData.map((row) => row[key]));
    for (const chip of form.querySelectorAll(`input[name="${key}"]`)) {
      chip.parentElement.hidden = !values.has(chip.value) && !chip.checked;
    }
  }
}

// --- order of the table ---

function compare(key, sign) {
  const isNumber = NUMBERS.includes(key);
  return (a, b) => {
    const lacks = isNumber
      ? Number(Number.isNaN(a[key])) - Number(Number.isNaN(b[key]))
      : Number(a[key] === "") - Number(b[key] === "");
    if (lacks) return lacks; // missing values come last in both directions
    const difference = isNumber ? a[key] - b[key] : a[key].localeCompare(b[key], "en", { numeric: true });
    return sign * difference || a.place - b.place;
  };
}

function showOrder(want) {
  const byPlace = (a, b) => a.place - b.place;
  const order = want.sort ? compare(want.sort, want.direction === "descending" ? -1 : 1) : byPlace;
  body.append(...[...rows].sort(order).map((row) => row.element));
  for (const head of heads) {
    const isSorted = head.firstElementChild.dataset.by === want.sort;
    if (isSorted) head.setAttribute("aria-sort", want.direction);
    else head.removeAttribute("aria-sort");
  }
}

for (const head of heads) {
  const button = head.firstElementChild;
  button.addEventListener("click", () => {
    const { sort, direction } = form.elements;
    const first = button.dataset.first || "ascending";
    const again = sort.value === button.dataset.by;
    const other = direction.value === "ascending" ? "descending" : "ascending";
    direction.value = again ? other : first;
    sort.value = button.dataset.by;
    update();
  });
}

// --- the plot ---

const MARGIN = { left: 46, right: 24, top: 12, bottom: 42 };
let shown = []; // the rows that the plot can show, by time
let area = null; // the visible range {x0, x1, y0, y1} on the scaled axes; null shows all points
let drawnWidth = 0;
let frame = null; // the current scales
let current = -1; // the index of the row whose point gets the focus when the user presses Tab

function make(kind, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function whole(linear) {
  const xs = shown.map((row) => scaled(row.ms, linear));
  const ys = shown.map((row) => row.top1);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const padX = (x1 - x0) * 0.04 || (linear ? x1 * 0.5 : 0.5);
  const padY = (y1 - y0) * 0.06 || 5;
  return { x0: linear ? Math.max(0, x0 - padX) : x0 - padX, x1: x1 + padX, y0: Math.max(0, y0 - padY), y1: Math.min(100.5, y1 + padY) };
}

const scaled = (ms, linear) => (linear ? ms : Math.log10(ms));

// About `wanted` round numbers between `low` and `high`.
function ticks(low, high, wanted) {
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-12); n += 1) found.push(n * step);
  return found;
}

function timeTicks(low, high, linear, wanted) {
  if (linear) return ticks(low, high, wanted);
  const found = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
  }
  const inside = found.filter((ms) => Math.log10(ms) >= low && Math.log10(ms) <= high);
  if (inside.length < 3) return ticks(10 ** low, 10 ** high, wanted);
  return inside.length <= wanted ? inside : inside.filter((ms) => /^0*\.?0*1/.test(ms.toPrecision(1)));
}

const figure = (number) => Number(number.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 6 });

function front(points) {
  let best = -Infinity;
  const kept = [];
  for (const row of points) { // sorted by time, then by accuracy, the highest first
    if (row.top1 > best && row.sample === "") { // accuracies of samples cannot be compared
      kept.push(row);
      best = row.top1;
    }
  }
  return kept;
}

function words(row) {
  const lines = [
    `image ${row.size}, ${row.precision}`,
    `top-1 ${figure(row.top1)} % (${MEANINGS[row.accuracy]}${row.sample ? `, of a sample: ${row.sample}` : ""})`,
    `${figure(row.ms)} ms (${MEANINGS[row.speed]})`,
    [row.board, row.engine, row.threads ? `${row.threads} thread${row.threads > 1 ? "s" : ""}` : ""].filter(Boolean).join(", "),
  ];
  return lines;
}

function drawPoint(row, x, y) {
  const link = make("a", {
    href: row.page,
    class: `point hue${row.hue} ${row.speed}`,
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    tabindex: row.place === current ? "0" : "-1",
    "aria-label": `${row.name}: ${words(row).join(", ")}`,
    "data-place": row.place,
  });
  if (row.accuracy !== row.speed) link.append(make("line", { x1: -11, x2: -6, y1: 0, y2: 0 }));
  link.append(make("path", { d: SHAPES[row.precision] }));
  return link;
}

function draw() {
  const want = chosen();
  const focused = plot.contains(document.activeElement) && document.activeElement.dataset.place;
  hideTip();
  drawnWidth = plot.clientWidth;
  const width = Math.max(280, drawnWidth);
  const height = Math.round(Math.min(540, Math.max(320, width * 0.5)));
  const picture = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Plot of accuracy against time; the table has the same figures" });
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  if (shown.length === 0) {
    picture.append(make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "No row has both an accuracy and a time."));
    plot.replaceChildren(picture, tip);
    return;
  }
  const { x0, x1, y0, y1 } = area || whole(want.linear);
  const toX = (ms) => MARGIN.left + (scaled(ms, want.linear) - x0) / (x1 - x0) * (right - MARGIN.left);
  const toY = (top1) => bottom - (top1 - y0) / (y1 - y0) * (bottom - MARGIN.top);
  frame = { x0, x1, y0, y1, right, bottom };

  for (const ms of timeTicks(x0, x1, want.linear, width / 75)) {
    const x = toX(ms);
    picture.append(make("line", { class: "axis", x1: x, x2: x, y1: MARGIN.top, y2: bottom }));
    picture.append(make("text", { x, y: bottom + 17, "text-anchor": "middle" }, figure(ms)));
  }
  for (const top1 of ticks(y0, y1, height / 60)) {
    const y = toY(top1);
    picture.append(make("line", { class: "axis", x1: MARGIN.left, x2: right, y1: y, y2: y }));
    picture.append(make("text", { x: MARGIN.left - 7, y: y + 4, "text-anchor": "end" }, figure(top1)));
  }
  picture.append(make("text", { class: "title", x: (MARGIN.left + right) / 2, y: height - 6, "text-anchor": "middle" }, "milliseconds per prediction"));
  picture.append(make("text", { class: "title", transform: `translate(13 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "top-1 accuracy, %"));

  const inside = shown.filter((row) => {
    const x = scaled(row.ms, want.linear);
    return x >= x0 && x <= x1 && row.top1 >= y0 && row.top1 <= y1;
  });
  const best = front(shown);
  if (want.front && best.length > 1) {
    const clip = make("clipPath", { id: "inside" });
    clip.append(make("rect", { x: MARGIN.left, y: MARGIN.top, width: right - MARGIN.left, height: bottom - MARGIN.top }));
    const path = best.map((row, n) => (n ? `H${toX(row.ms).toFixed(1)}V${toY(row.top1).toFixed(1)}` : `M${toX(row.ms).toFixed(1)} ${toY(row.top1).toFixed(1)}`));
    picture.append(clip, make("path", { class: "front", d: path.join(""), "clip-path": "url(#inside)" }));
  }
  if (!inside.some((row) => row.place === current)) current = inside.length ? inside[0].place : -1;
  const onFront = new Set(want.front ? best : []);
  const order = [...inside].sort((a, b) => Number(onFront.has(a)) - Number(onFront.has(b)));
  for (const row of order) picture.append(drawPoint(row, toX(row.ms), toY(row.top1)));
  plot.replaceChildren(picture, tip);
  document.getElementById("plot-count").textContent = `${inside.length} points`;
  if (focused) picture.querySelector(`[data-place="${current}"]`)?.focus();
}

// --- tooltip ---

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true"); // screen readers read the same text in the point's label

function hideTip() {
  tip.hidden = true;
}

function showTip(link) {
  const row = rows[Number(link.dataset.place)];
  const name = document.createElement("b");
  name.textContent = row.name;
  tip.replaceChildren(name, ...words(row).map((text) => {
    const line = document.createElement("span");
    line.textContent = text;
    return line;
  }));
  tip.hidden = false;
  const box = plot.getBoundingClientRect();
  const at = link.getBoundingClientRect();
  const x = at.left + at.width / 2 - box.left;
  const y = at.top + at.height / 2 - box.top;
  const left = x + 14 + tip.offsetWidth > box.width ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${Math.max(0, Math.min(y - 20, box.height - tip.offsetHeight))}px`;
}

const pointOf = (event) => event.target.closest?.(".point");
plot.addEventListener("pointerover", (event) => (pointOf(event) ? showTip(pointOf(event)) : hideTip()));
plot.addEventListener("pointerleave", hideTip);
plot.addEventListener("focusin", (event) => {
  const link = pointOf(event);
  if (!link) return;
  plot.querySelector(`[data-place="${current}"]`)?.setAttribute("tabindex", "-1");
  current = Number(link.dataset.place);
  link.setAttribute("tabindex", "0");
  showTip(link);
});
plot.addEventListener("focusout", hideTip);

// --- zoom ---

// Make the visible range `share` times as large. The point (`atX`, `atY`) stays where it is; its
// coordinates are fractions of the axes.
function zoom(share, atX = 0.5, atY = 0.5) {
  if (!frame || shown.length === 0) return;
  const { x0, x1, y0, y1 } = frame;
  const x = x0 + atX * (x1 - x0);
  const y = y0 + atY * (y1 - y0);
  area = { x0: x - (x - x0) * share, x1: x + (x1 - x) * share, y0: y - (y - y0) * share, y1: y + (y1 - y) * share };
  if (chosen().linear) area.x0 = Math.max(0, area.x0);
  draw();
}

function zoomOnCurrent(share) {
  const row = rows[current];
  if (!row) return;
  const { x0, x1, y0, y1 } = frame;
  zoom(share, (scaled(row.ms, chosen().linear) - x0) / (x1 - x0), (row.top1 - y0) / (y1 - y0));
}

function showWhole() {
  area = null;
  draw();
}

document.getElementById("closer").addEventListener("click", () => zoom(0.6));
document.getElementById("wider").addEventListener("click", () => zoom(1 / 0.6));
document.getElementById("whole").addEventListener("click", showWhole);

// The position of a pointer event as fractions of both axes, from 0 to 1.
function shares(event) {
  const box = plot.getBoundingClientRect();
  const within = (share) => Math.min(1, Math.max(0, share));
  return [
    within((event.clientX - box.left - MARGIN.left) / (frame.right - MARGIN.left)),
    within((frame.bottom - (event.clientY - box.top)) / (frame.bottom - MARGIN.top)),
  ];
}

plot.addEventListener("wheel", (event) => {
  if (!frame || !(event.ctrlKey || event.metaKey)) return; // without a modifier key the wheel scrolls the page
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, ...shares(event));
}, { passive: false });

plot.addEventListener("dblclick", (event) => pointOf(event) || showWhole());

plot.addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "mouse" || event.button !== 0 || pointOf(event) || !frame) return;
  const picture = plot.querySelector("svg");
  const from = shares(event);
  const brush = make("rect", { class: "brush" });
  picture.append(brush);
  const px = ([x, y]) => [MARGIN.left + x * (frame.right - MARGIN.left), frame.bottom - y * (frame.bottom - MARGIN.top)];
  const move = (now) => {
    const [ax, ay] = px(from);
    const [bx, by] = px(shares(now));
    brush.setAttribute("x", Math.min(ax, bx));
    brush.setAttribute("y", Math.min(ay, by));
    brush.setAttribute("width", Math.abs(ax - bx));
    brush.setAttribute("height", Math.abs(ay - by));
  };
  const end = (now) => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointercancel", end);
    window.removeEventListener("pointerup", end);
    brush.remove();
    const to = shares(now);
    if (now.type !== "pointerup" || Math.abs(from[0] - to[0]) < 0.02 || Math.abs(from[1] - to[1]) < 0.02) return;
    const { x0, x1, y0, y1 } = frame;
    const [left, right] = [from[0], to[0]].sort((a, b) => a - b);
    const [low, high] = [from[1], to[1]].sort((a, b) => a - b);
    area = { x0: x0 + left * (x1 - x0), x1: x0 + right * (x1 - x0), y0: y0 + low * (y1 - y0), y1: y0 + high * (y1 - y0) };
    draw();
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointercancel", end);
  window.addEventListener("pointerup", end);
});

plot.addEventListener("keydown", (event) => {
  if (!pointOf(event) || event.altKey || event.ctrlKey || event.metaKey) return;
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
  const zooms = { "+": 0.6, "=": 0.6, "-": 1 / 0.6 };
  if (event.key in steps) {
    const visible = shown.filter((row) => plot.querySelector(`[data-place="${row.place}"]`));
    const index = visible.findIndex((row) => row.place === current) + steps[event.key];
    const next = visible[Math.min(visible.length - 1, Math.max(0, index))];
    plot.querySelector(`[data-place="${next.place}"]`).focus();
  } else if (event.key in zooms) {
    zoomOnCurrent(zooms[event.key]);
  } else if (event.key === "Escape" || event.key === "0") {
    showWhole();
  } else {
    return;
  }
  event.preventDefault();
});

// --- state ---

const asText = () => new URLSearchParams(new FormData(form)).toString();
const DEFAULT = asText();
let drawn = ""; // the state of the filters that the plot shows

function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1) || DEFAULT);
  for (const control of form.elements) {
    if (!control.name) continue;
    const values = wanted.getAll(control.name);
    if (control.type === "checkbox") {
      control.checked = values.includes(control.value);
    } else if (control.tagName !== "SELECT" || [...control.options].some((x) => x.value === values[0])) {
      control.value = values[0] ?? "";
    }
  }
}

function update() {
  const state = asText();
  if (state === drawn) return;
  drawn = state;
  const address = state === DEFAULT ? location.pathname + location.search : `#${state}`;
  history.replaceState(null, "", address);
  const want = chosen();
  const kept = rows.filter((row) => passes(row, want));
  for (const row of rows) row.element.hidden = true;
  for (const row of kept) row.element.hidden = false;
  showChips(want);
  showOrder(want);
  const models = new Set(kept.map((row) => row.name)).size;
  document.getElementById("count").textContent = `${kept.length} of ${rows.length} rows, ${models} models`;
  const complete = kept.filter((row) => !Number.isNaN(row.ms) && !Number.isNaN(row.top1));
  shown = complete.sort((a, b) => a.ms - b.ms || b.top1 - a.top1 || a.place - b.place);
  area = null;
  draw();
}

for (const sign of form.querySelectorAll("[data-shape]")) {
  sign.append(make("path", { d: SHAPES[sign.dataset.shape] }));
}
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", update);
document.addEventListener("change", (event) => event.target.form === form && update());
form.addEventListener("reset", (event) => {
  event.preventDefault();
  history.replaceState(null, "", location.pathname + location.search);
  restore();
  update();
});
window.addEventListener("hashchange", () => {
  if (location.hash === "#models") return; // the link "Skip to the table"
  restore();
  update();
});
window.addEventListener("pageshow", () => {
  if (location.hash !== "#models") restore();
  update();
});
new ResizeObserver(() => drawn && plot.clientWidth !== drawnWidth && draw()).observe(plot);
