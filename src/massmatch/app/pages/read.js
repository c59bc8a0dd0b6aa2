// The page "Read": files go to Python one after the other; pixels, findings and files to keep come back.

import { element, rowOf } from "./cards.js";
import { Viewer } from "./viewer.js";

const find = (id) => document.getElementById(id);
const viewer = new Viewer(find("shown"));
const files = []; // {name, button, image, error}
const KINDS = { csv: "findings (CSV)", contour: "picture (PNG)", mask: "mask (PNG)", nrrd: "3D Slicer (seg.nrrd)", seg: "DICOM SEG", sr: "DICOM SR" };
let current = null, wanted = null, queue = Promise.resolve(), asking = false, askedAgain = false;

const toProbability = (logit) => 1 / (1 + Math.exp(-logit));
const toLogit = (probability) => Math.log(probability / (1 - probability));
const threshold = () => current.threshold;

function say(wrong) {
  find("wrong").hidden = !wrong;
  find("wrong").textContent = wrong ?? "";
}

function add(list) {
  for (const file of list) {
    const entry = { name: file.name, button: element("button", { type: "button", textContent: `${file.name}: waiting` }) };
    entry.button.addEventListener("click", () => open(entry));
    const item = element("li");
    item.append(entry.button);
    find("files").append(item);
    files.push(entry);
    queue = queue.then(() => take(entry, file));
  }
}

async function take(entry, file) {
  find("busy").textContent = `${entry.name}: being segmented`;
  try {
    const got = await fetch(`/api/images?name=${encodeURIComponent(entry.name)}`, { method: "POST", body: file });
    const answer = await got.json();
    if (answer.error) throw new Error(answer.error);
    Object.assign(entry, { image: answer, threshold: answer.threshold });
    entry.button.textContent = [entry.name, answer.side, answer.view].filter(Boolean).join(" · ");
    if (!current) await open(entry);
  } catch (error) {
    entry.error = error instanceof TypeError ? "massmatch does not answer: is it still running?" : error.message;
    entry.button.textContent = `${entry.name}: not read`;
    say(entry.error);
  }
  find("busy").textContent = "";
}

async function open(entry) {
  if (!entry.image) { say(entry.error); return; }
  say();
  wanted = entry;
  const got = await fetch(`/api/images/${entry.image.id}/pixels`);
  if (!got.ok) { say((await got.json()).error); return; }
  const pixels = new Uint16Array(await got.arrayBuffer());
  if (wanted !== entry) return; // another file was opened while this one came: picture, findings and files are of one
  current = entry;
  for (const each of files) each.button.setAttribute("aria-pressed", each === entry);
  find("of").hidden = false;
  viewer.show({ ...entry.image, pixels });
  forgetFindings();
  const { rows, columns, spacing_mm: spacing, said } = entry.image;
  const size = spacing ? `${(rows * spacing[0]).toFixed(0)} × ${(columns * spacing[1]).toFixed(0)} mm` : "size in mm not known";
  find("about").textContent = [`${rows} × ${columns} pixels, ${size}`, ...said].join(". ");
  showWindow();
  setThreshold(entry.threshold);
}

function setThreshold(probability) {
  current.threshold = probability;
  find("threshold").value = toLogit(Math.min(Math.max(probability, 1e-6), 1 - 1e-6));
  find("probability").textContent = Number(probability.toPrecision(7));
  for (const link of find("keep").children) link.href = `/api/images/${current.image.id}/files/${link.dataset.kind}?threshold=${probability}`;
  for (const link of find("keep").children) link.hidden = ["seg", "sr"].includes(link.dataset.kind) && !current.image.dicom;
  ask();
}

// One question at a time, and the latest threshold last.
async function ask() {
  if (asking) { askedAgain = true; return; }
  asking = true;
  const entry = current;
  const unanswered = (why) => { say(why); forgetFindings(); };
  try {
    const got = await fetch(`/api/images/${entry.image.id}/findings?threshold=${threshold()}`);
    const answer = await got.json();
    if (answer.error) unanswered(answer.error);
    else if (entry === current) showFindings(answer);
  } catch { unanswered("massmatch does not answer: is it still running?"); }
  asking = false;
  if (askedAgain) { askedAgain = false; ask(); }
}

// What is shown is of this image and this threshold, or nothing.
function forgetFindings() {
  viewer.outlines = [];
  viewer.draw();
  find("findings").replaceChildren();
  find("note").textContent = "";
}

function showFindings(list) {
  viewer.outlines = list;
  viewer.draw();
  const size = (mm, px, unit) => (mm === null ? `${px.toFixed(0)} px` : `${mm.toFixed(1)} ${unit}`);
  find("findings").replaceChildren(rowOf("th", ["no.", "area", "long axis", "mean", "highest", "in breast"]), ...list.map((each) => {
    const where = { true: "yes", false: "no", null: "not known" }[each.inside_breast];
    const row = rowOf("td", [each.number, size(each.area_mm2, each.area_px, "mm²"), size(each.axis_mm, each.axis_px, "mm"),
      each.mean.toFixed(2), each.highest.toFixed(2), where]);
    row.addEventListener("click", () => centre(each));
    return row;
  }));
  find("note").textContent = list.length ? "Measured at up to 512 pixels; files are measured at full size. Click a row to go there."
    : "Nothing is found at this threshold.";
}

function centre(finding) {
  viewer.zoom = Math.max(viewer.zoom, 2 * Math.min(viewer.canvas.width / current.image.columns, viewer.canvas.height / current.image.rows));
  viewer.left = viewer.canvas.width / 2 - finding.centre[1] * viewer.zoom;
  viewer.top = viewer.canvas.height / 2 - finding.centre[0] * viewer.zoom;
  viewer.draw();
}

function showWindow() {
  find("windowed").textContent = `black ${Math.round(viewer.window[0])}, white ${Math.round(viewer.window[1])}`;
}

function setWindow(low, high) {
  viewer.setWindow(low, high);
  showWindow();
}

const actions = {
  in: () => viewer.zoomBy(1.25),
  out: () => viewer.zoomBy(0.8),
  fit: () => viewer.fit(),
  window: () => setWindow(...current.image.window),
  threshold: () => setThreshold(current.image.threshold),
  outlines: () => {
    viewer.hasOutlines = !viewer.hasOutlines;
    document.querySelector("[data-do=outlines]").setAttribute("aria-pressed", viewer.hasOutlines);
    viewer.draw();
  },
  next: () => step(1),
  previous: () => step(-1),
  less: () => setThreshold(toProbability(Number(find("threshold").value) - 0.2)),
  more: () => setThreshold(toProbability(Number(find("threshold").value) + 0.2)),
};

function step(by) {
  const read = files.filter((each) => each.image);
  open(read[(read.indexOf(current) + by + read.length) % read.length]);
}

const KEYS = { "+": "in", "=": "in", "-": "out", f: "fit", w: "window", o: "outlines", n: "next", p: "previous", "[": "less", "]": "more" };
const STEPS = { ArrowUp: [0, 40], ArrowDown: [0, -40], ArrowLeft: [40, 0], ArrowRight: [-40, 0] };

document.addEventListener("keydown", (event) => {
  if (!current || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
  const action = actions[KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]], move = STEPS[event.key];
  if (!action && !(move && event.target === viewer.canvas)) return;
  event.preventDefault();
  if (action) action();
  else viewer.moveBy(...move);
});

document.addEventListener("click", (event) => {
  const action = actions[event.target.dataset?.do];
  if (action && current) action();
});

find("threshold").addEventListener("input", (event) => setThreshold(toProbability(Number(event.target.value))));

viewer.canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = viewer.canvas.getBoundingClientRect();
  viewer.zoomBy(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
viewer.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
viewer.canvas.addEventListener("pointerdown", (event) => {
  if (!current) return;
  viewer.canvas.setPointerCapture(event.pointerId);
  const windowing = event.button === 2 || event.shiftKey, [low, high] = viewer.window, width = high - low;
  const [x, y] = [event.clientX, event.clientY];
  let last = [x, y];
  const drag = (moving) => {
    if (windowing) { // right and left: wider and narrower; up and down: darker and brighter
      const wide = width * Math.exp((moving.clientX - x) / 200), middle = (low + high) / 2 + (moving.clientY - y) / 300 * width;
      setWindow(middle - wide / 2, middle + wide / 2);
    } else viewer.moveBy(moving.clientX - last[0], moving.clientY - last[1]);
    last = [moving.clientX, moving.clientY];
  };
  const end = () => {
    viewer.canvas.removeEventListener("pointermove", drag);
    for (const name of ["pointerup", "pointercancel"]) viewer.canvas.removeEventListener(name, end);
  };
  viewer.canvas.addEventListener("pointermove", drag);
  for (const name of ["pointerup", "pointercancel"]) viewer.canvas.addEventListener(name, end);
});

find("choose").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  add(event.dataTransfer.files);
});

find("keep").replaceChildren(...Object.entries(KINDS).map(([kind, text]) => {
  const link = element("a", { textContent: text, download: "", className: "file" });
  link.dataset.kind = kind;
  return link;
}));
