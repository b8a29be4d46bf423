"use strict";

// Unpack the long texts. They are put into the page as text, never as HTML.
async function unpacked() {
  const letters = atob(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const data = unpacked();

function line(text, kind) {
  const span = document.createElement("span");
  span.textContent = text || " ";
  if (kind) span.className = kind;
  return span;
}

function showText(element, text) {
  element.replaceChildren(...text.split("\n").map((one) => line(one)));
}

function showDifference(element, text) {
  const kinds = { "+": "added", "-": "removed" };
  element.replaceChildren(...text.split("\n").map((one) => line(one, kinds[one[0]])));
}

function costColumns(cost) {
  const [cycles, runs, each] = cost;
  const grouped = (number) => number.toLocaleString("en-US");
  return `${grouped(cycles).padStart(11)} ${grouped(runs).padStart(9)} ${each.toFixed(2).padStart(6)}  `;
}

function showAssembly(element, kernel) {
  const lines = kernel.asm.split("\n");
  if (!kernel.costs) {
    showText(element, kernel.asm);
    return;
  }
  const most = Math.max(1, ...kernel.costs.map((cost) => (cost ? cost[0] : 0)));
  const head = line(`${"cycles".padStart(11)} ${"runs".padStart(9)} ${"each".padStart(6)}`, "head");
  element.replaceChildren(head, ...lines.map((text, index) => {
    const cost = kernel.costs[index];
    const span = line(text);
    const columns = document.createElement("span");
    columns.className = "cost";
    columns.textContent = cost ? costColumns(cost) : " ".repeat(30);
    span.prepend(columns);
    if (cost) span.style.background = `rgba(217, 100, 44, ${(0.55 * cost[0] / most).toFixed(3)})`;
    return span;
  }));
  element.closest(".code").classList.add("costed");
  const hottest = element.children[1 + kernel.costs.findIndex((cost) => cost && cost[0] === most)];
  if (hottest) element.scrollTop = hottest.offsetTop - element.clientHeight / 2;
}

function changeShown(heading, text) {
  const [name, counts] = heading.split(": ");
  const title = document.createElement("p");
  const bold = document.createElement("b");
  bold.textContent = name;
  title.append(bold, ` ${counts}`);
  const difference = document.createElement("pre");
  difference.className = "diff";
  showDifference(difference, text);
  return [title, difference];
}

async function fill(panel) {
  if (panel.dataset.filled) return;
  panel.dataset.filled = "yes";
  const { kernels, nodes } = await data;
  const node = nodes[panel.dataset.key];
  const parts = node.changes.flatMap(([heading, text]) => changeShown(heading, text));
  panel.querySelector(".changes").replaceChildren(
    ...(parts.length ? parts : [line("No pass changed this node.")]),
    ...changeShown("after all passes: ", node.now),
  );
  for (const section of panel.querySelectorAll("[data-kernel]")) {
    const kernel = kernels[section.dataset.kernel];
    showText(section.querySelector(".kernel"), kernel.kernel);
    showText(section.querySelector(".llvm"), kernel.llvm);
    showAssembly(section.querySelector(".asm"), kernel);
  }
}

const panels = new Map(
  [...document.querySelectorAll(".node-panel")].map((panel) => [panel.dataset.key, panel]),
);
const order = [...panels.keys()];

async function show(key) {
  const panel = panels.get(key);
  document.getElementById("overview").hidden = Boolean(panel);
  for (const other of panels.values()) other.hidden = other !== panel;
  for (const mark of document.querySelectorAll(".node, .life")) {
    mark.classList.toggle("selected", Boolean(panel) && mark.dataset.key === key);
  }
  document.querySelector("main").scrollTop = 0;
  if (!panel) return;
  document.querySelector("nav .selected")?.scrollIntoView({ block: "nearest" });
  await fill(panel);
}

const chosen = () => decodeURIComponent(location.hash.slice(1));

document.addEventListener("click", (event) => {
  const node = event.target.closest("svg [data-key]");
  if (node) location.hash = encodeURIComponent(node.dataset.key);
  const level = event.target.closest("[data-to]");
  if (level) {
    const panel = level.closest(".node-panel");
    panel.querySelector(`[data-level="${level.dataset.to}"]`).scrollIntoView({ behavior: "smooth" });
  }
});

document.getElementById("graph-switch").addEventListener("click", (event) => {
  const hidden = document.body.classList.toggle("without-graph");
  event.target.textContent = hidden ? "Show the graph" : "Hide the graph";
});

document.addEventListener("keydown", (event) => {
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  const step = steps[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = order[order.indexOf(chosen()) + step];
  if (!next) return;
  event.preventDefault();
  location.hash = encodeURIComponent(next);
});

for (const part of document.querySelectorAll("[data-pass]")) {
  part.addEventListener("toggle", async () => {
    const element = part.querySelector(".diff");
    if (part.open && !element.firstChild) showDifference(element, (await data).passes[part.dataset.pass]);
  });
}

window.addEventListener("hashchange", () => show(chosen()));
show(chosen());
