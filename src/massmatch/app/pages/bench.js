// The loss bench: what is painted is asked of Python, and its answers are shown.

import { element, fillCard, makeCard } from "./cards.js";
import { SIDE, empty, fromLink, fromRuns, moved, stroke, toLink, toRuns } from "./masks.js";
import { drawMasks } from "./pictures.js";

const FIRST = ["bce", "sm-bce-sd-nz", "soft-sm"];
const MOST = 4, WAIT = 60; // losses; milliseconds between questions while something is dragged
const KEYS = {
  gradient: "Blue: training raises the probability here; orange: it lowers it; the colour grows with the square root. Lines: cells that are kept.",
  weight: "Orange: the weight of a cell; cells that are not kept are pale.",
  share_of_loss: "Orange: what a cell adds to the loss.",
  share_of_gradient_by_logit: "Orange: how much of the gradient arrives in a cell.",
};

const find = (id) => document.getElementById(id);
const painted = find("painted");
const state = { truth: empty(), prediction: empty(), certainty: 0.95, doubt: 0.02, blur: 0, view: "gradient", losses: FIRST, grey: null, image: "", claim: "" };
const undone = [];
let cards = [], remembered = {}, tool = "move", timer = null, asking = null, broken = null;

function show() {
  drawMasks(painted, state.truth, state.prediction, state.grey);
  for (const name of ["certainty", "doubt", "blur"]) {
    find(name).value = state[name];
    document.querySelector(`output[for=${name}]`).textContent = state[name];
  }
  find("view").value = state.view;
  find("image").value = state.image;
  find("claim").textContent = state.claim;
  find("key").textContent = KEYS[state.view];
  find("more").disabled = cards.length >= MOST;
  find("cards").setAttribute("aria-busy", true);
  timer ??= setTimeout(ask, WAIT);
}

async function ask() {
  timer = null;
  asking?.abort();
  asking = new AbortController();
  history.replaceState(null, "", `#${toLink(state)}`);
  const question = {
    truth: toRuns(state.truth), prediction: toRuns(state.prediction), certainty: state.certainty, doubt: state.doubt,
    blur: state.blur, losses: state.losses,
  };
  try {
    const got = await fetch("/api/bench", { method: "POST", body: JSON.stringify(question), signal: asking.signal });
    const answer = await got.json();
    say(answer.error ?? broken);
    (answer.losses ?? []).forEach((each, n) => cards[n] && fillCard(cards[n], each, state.view, remembered[each.loss]));
    find("cards").setAttribute("aria-busy", timer !== null);
  } catch (error) {
    if (error.name !== "AbortError") say("massmatch does not answer: is it still running?");
  }
}

function say(wrong) {
  find("wrong").hidden = !wrong;
  find("wrong").textContent = wrong ?? "";
}

function setLosses(losses) {
  state.losses = losses.slice(0, MOST);
  cards = state.losses.map((text, n) => makeCard(text,
    (event) => { state.losses[n] = event.target.value.trim(); show(); },
    () => setLosses(state.losses.filter((_, other) => other !== n))));
  find("cards").replaceChildren(...cards.map((each) => each.card));
  show();
}

function keep() {
  broken = null;
  undone.push([state.truth.slice(), state.prediction.slice(), state.grey, state.image, state.claim]);
  if (undone.length > 50) undone.shift();
}

function undo() {
  if (undone.length) [state.truth, state.prediction, state.grey, state.image, state.claim] = undone.pop();
  show();
}

function place(event) {
  const box = painted.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width * SIDE, y: (event.clientY - box.top) / box.height * SIDE };
}

painted.addEventListener("pointerdown", (event) => {
  painted.setPointerCapture(event.pointerId);
  keep();
  const layer = find("layer").value, before = state[layer].slice(), start = place(event);
  let last = start;
  const drag = (moving) => {
    const here = place(moving);
    if (tool === "move") state[layer] = moved(before, Math.round(here.y - start.y), Math.round(here.x - start.x));
    else stroke(state[layer], last, here, Number(find("brush").value), tool === "paint" ? 1 : 0);
    last = here;
    show();
  };
  const end = () => {
    painted.removeEventListener("pointermove", drag);
    painted.removeEventListener("pointerup", end);
    painted.removeEventListener("pointercancel", end);
  };
  painted.addEventListener("pointermove", drag);
  painted.addEventListener("pointerup", end);
  painted.addEventListener("pointercancel", end);
  drag(event);
});

painted.addEventListener("keydown", (event) => {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  keep();
  const layer = find("layer").value;
  state[layer] = moved(state[layer], ...step.map((each) => each * (event.shiftKey ? 8 : 1)));
  show();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && event.target.tagName !== "INPUT") { event.preventDefault(); undo(); }
});

find("tools").addEventListener("click", (event) => {
  if (!event.target.dataset.tool) return;
  tool = event.target.dataset.tool;
  for (const each of find("tools").querySelectorAll("[data-tool]")) each.setAttribute("aria-pressed", each.dataset.tool === tool);
});
find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", () => { keep(); state[find("layer").value] = empty(); show(); });
for (const name of ["certainty", "doubt", "blur"]) {
  find(name).addEventListener("input", (event) => { state[name] = Number(event.target.value); show(); });
}
find("view").addEventListener("change", (event) => { state.view = event.target.value; show(); });
find("more").addEventListener("click", () => setLosses([...state.losses, "dice"]));
find("remember").addEventListener("click", () => {
  remembered = Object.fromEntries(cards.filter((each) => each.answer && !each.answer.error).map((each) => [each.answer.loss, each.answer.value]));
  find("said").textContent = "the values are remembered, and changes are shown beside them";
  show();
});
find("link").addEventListener("click", async () => {
  history.replaceState(null, "", `#${toLink(state)}`);
  try { await navigator.clipboard.writeText(location.href); find("said").textContent = "copied"; }
  catch { find("said").textContent = "the address of this page is the link"; }
});

// A truth and a prediction to start from, with the grey levels of an image where they are of one of the cohort.
function begin(from, image) {
  [state.truth, state.prediction] = [fromRuns(from.truth), fromRuns(from.prediction)];
  state.grey = from.grey ? Uint8Array.from(atob(from.grey), (letter) => letter.charCodeAt(0)) : null;
  [state.image, state.claim] = [image, from.title];
  show();
}

let wanted = 0; // of several images that are asked for at once, the last is shown

async function choose(number) {
  const asked = ++wanted;
  try {
    const image = await (await fetch(`/api/cohort/${number}`)).json();
    if (asked !== wanted) return;
    say(image.error);
    if (image.error) return;
    keep();
    begin(image, String(number));
  } catch {
    say("massmatch does not answer: is it still running?");
  }
}

function offer(cohort) {
  find("cohort").hidden = !cohort.ids.length;
  find("cohort-name").textContent = cohort.name;
  find("image").append(...cohort.ids.map((id, number) => element("option", { value: number, textContent: id })));
  find("image").addEventListener("change", (event) => event.target.value && choose(Number(event.target.value)));
  const last = cohort.ids.length - 1, now = () => (state.image ? Number(state.image) : null);
  find("previous").addEventListener("click", () => choose(Math.max(0, (now() ?? 1) - 1)));
  find("next").addEventListener("click", () => choose(Math.min(last, (now() ?? -1) + 1)));
}

async function start() {
  const [names, presets, cohort] = await Promise.all(["losses", "presets", "cohort"].map(async (what) => (await fetch(`/api/${what}`)).json()));
  find("names").replaceChildren(...names.map((each) => element("option", { value: each.name, label: each.line })));
  offer(cohort);
  find("presets").replaceChildren(...presets.map((each) => {
    const button = element("button", { type: "button", textContent: each.name, title: each.title });
    button.addEventListener("click", () => {
      keep();
      begin(each, "");
    });
    return button;
  }));
  let linked = null;
  try { linked = fromLink(location.hash); } catch (error) { broken = `the link cannot be read: ${error.message}`; }
  if (linked) Object.assign(state, linked, { view: linked.view in KEYS ? linked.view : "gradient" });
  else [state.truth, state.prediction] = [fromRuns(presets[0].truth), fromRuns(presets[0].prediction)];
  setLosses(state.losses.length ? state.losses : FIRST);
}

start();
