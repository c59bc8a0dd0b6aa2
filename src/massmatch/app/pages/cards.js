// One card for each loss: its name, value, picture, and what its cells add.

import { cellAt, drawAnswer } from "./pictures.js";

const LISTED = 8; // cells in the table: those that add most

export const number = (value, digits = 4) => (value === null || value === undefined ? "not finite" : value.toPrecision(digits));

export function makeCard(text, onChange, onRemove) {
  const card = element("article", { className: "card" });
  const name = element("input", { type: "text", value: text, spellcheck: false });
  name.setAttribute("list", "names");
  name.setAttribute("aria-label", "Loss, as on the command line");
  name.addEventListener("change", onChange);
  const remove = element("button", { type: "button", textContent: "remove" });
  remove.addEventListener("click", onRemove);
  const wrong = element("p", { className: "warning", hidden: true });
  const value = element("div", { className: "value" }), about = element("p", { className: "soft" });
  const picture = element("canvas"), at = element("p", { className: "at" });
  picture.setAttribute("role", "img");
  const details = element("details"), table = element("div", { className: "scroll" });
  details.append(element("summary", { textContent: "cells that add most" }), table);
  card.append(name, wrong, value, about, picture, at, details, remove);
  const parts = { card, name, wrong, value, about, picture, at, details, table, answer: null };
  picture.addEventListener("pointermove", (event) => { at.textContent = told(parts.answer, event); });
  picture.addEventListener("pointerleave", () => { at.textContent = hint(parts.answer); });
  return parts;
}

export function fillCard(parts, answer, view, remembered) {
  parts.answer = answer;
  parts.wrong.hidden = !answer.error;
  parts.wrong.textContent = answer.error ?? "";
  for (const part of [parts.value, parts.about, parts.picture, parts.at]) part.hidden = Boolean(answer.error);
  parts.details.hidden = Boolean(answer.error) || !answer.cells;
  if (answer.error) return;
  parts.value.textContent = number(answer.value);
  parts.about.textContent = summary(answer) + change(answer.value, remembered);
  drawAnswer(parts.picture, answer, view);
  parts.picture.setAttribute("aria-label", `${view} of ${answer.loss}`);
  parts.at.textContent = hint(answer);
  if (answer.cells) parts.table.replaceChildren(tableOf(answer.cells));
}

function summary(answer) {
  if (!answer.cells) return "over the whole image; it has no cells. ";
  const [rows, cols] = answer.cell_size, kept = answer.cells.kept.filter(Boolean).length;
  const scale = answer.soft ? "" : `, times ${number(answer.ratio, 3)}`;
  return `image ${number(answer.image)} + grid ${number(answer.grid)}${scale}; ${kept} of ${answer.cells.kept.length} cells of ${rows} × ${cols} kept. `;
}

function change(value, remembered) {
  if (remembered === undefined || remembered === null || value === null) return "";
  const difference = value - remembered;
  return `${difference >= 0 ? "+" : "−"}${number(Math.abs(difference), 3)} against ${number(remembered)}.`;
}

const hint = (answer) => (answer?.cells ? "Point at a cell to read it." : "");

function told(answer, event) {
  if (!answer?.cells) return "";
  const box = event.target.getBoundingClientRect();
  const n = cellAt(answer.cells, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  if (n < 0) return hint(answer);
  const of = (column) => answer.cells[column][n];
  const mass = [of("true") && "true", of("predicted") && "predicted"].filter(Boolean).join(" and ") || "no";
  return `${mass} mass, ${of("kept") ? "kept" : "not kept"}; weight ${number(of("weight"), 3)}, loss ${number(of("loss"), 3)}, `
    + `distance ${number(of("distance"), 3)}; share of the loss ${percent(of("share_of_loss"))}, of the gradient ${percent(of("share_of_gradient_by_logit"))}`;
}

const percent = (share) => (share === null ? "none" : `${(100 * share).toFixed(1)} %`);

function tableOf(cells) {
  const order = cells.term.map((_, n) => n).sort((a, b) => (cells.share_of_loss[b] ?? 0) - (cells.share_of_loss[a] ?? 0)).slice(0, LISTED);
  const table = element("table");
  table.append(rowOf("th", ["row, column", "mass", "kept", "weight", "loss", "share", "of gradient"]));
  for (const n of order) {
    const mass = `${cells.true[n] ? "true " : ""}${cells.predicted[n] ? "predicted" : ""}` || "none";
    table.append(rowOf("td", [`${cells.top[n]}, ${cells.left[n]}`, mass, cells.kept[n] ? "yes" : "no", number(cells.weight[n], 3),
      number(cells.loss[n], 3), percent(cells.share_of_loss[n]), percent(cells.share_of_gradient_by_logit[n])]));
  }
  return table;
}

export function rowOf(kind, texts) {
  const row = element("tr");
  row.append(...texts.map((text) => element(kind, { textContent: text })));
  return row;
}

export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
