// Pictures of the loss bench: the painted masks, and for each loss its gradient or its cells.

import { SIDE } from "./masks.js";

const TRUE = [244, 143, 177], PREDICTED = [102, 187, 106], BOTH = [141, 110, 99], NEITHER = [217, 217, 217];
const UP = [43, 108, 212], DOWN = [224, 123, 0], PALE = [245, 245, 245];
const SCALE = 4; // pixels of a picture with cells per pixel of the image, so that their lines stay thin

// `grey`: the levels of an image below the masses, or null.
export function drawMasks(canvas, truth, prediction, grey) {
  const below = grey ? (n) => [grey[n], grey[n], grey[n]] : () => NEITHER;
  paint(canvas.getContext("2d"), 1, (n) => (truth[n] ? (prediction[n] ? BOTH : TRUE) : prediction[n] ? PREDICTED : below(n)));
}

// The answer of one loss: as the page's choice "view" says, with the lines of its kept cells.
export function drawAnswer(canvas, answer, view) {
  canvas.width = canvas.height = SIDE * SCALE;
  const context = canvas.getContext("2d");
  const slope = signedBytes(answer.gradient);
  const values = view === "gradient" || !answer.cells ? null : answer.cells[view];
  if (values) drawCells(context, answer.cells, values);
  else paint(context, SCALE, (n) => mix(slope[n] > 0 ? DOWN : UP, Math.sqrt(Math.abs(slope[n]) / 127)));
  if (answer.cells) drawLines(context, answer.cells);
}

const mix = (colour, share) => colour.map((value, n) => PALE[n] + (value - PALE[n]) * share);

function paint(context, scale, colourOf) {
  const image = context.createImageData(SIDE * scale, SIDE * scale);
  for (let row = 0; row < SIDE * scale; row++) {
    for (let col = 0; col < SIDE * scale; col++) {
      const colour = colourOf(Math.floor(row / scale) * SIDE + Math.floor(col / scale));
      image.data.set([...colour, 255], 4 * (row * SIDE * scale + col));
    }
  }
  context.putImageData(image, 0, 0);
}

function drawCells(context, cells, values) {
  const most = Math.max(...values.map((value) => Math.abs(value ?? 0)), 1e-300);
  values.forEach((value, n) => {
    const share = Math.abs(value ?? 0) / most;
    context.fillStyle = `rgb(${mix(value < 0 ? UP : DOWN, cells.kept[n] ? share : 0).map(Math.round)})`;
    context.fillRect(...placed(cells, n));
  });
}

function drawLines(context, cells) {
  context.lineWidth = 1;
  cells.kept.forEach((kept, n) => {
    if (!kept && cells.kept.length > 400) return;
    context.strokeStyle = kept ? "rgba(30,30,30,.55)" : "rgba(30,30,30,.12)";
    const [x, y, width, height] = placed(cells, n);
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  });
}

const placed = (cells, n) => [cells.left[n], cells.top[n], cells.width[n], cells.height[n]].map((side) => side * SCALE);

function signedBytes(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int8Array(bytes.buffer);
}

// The number of the cell at a place of a picture, given from 0 to 1; -1 where there is none.
export function cellAt(cells, x, y) {
  const [col, row] = [x * SIDE, y * SIDE];
  return cells.top.findIndex((top, n) =>
    row >= top && row < top + cells.height[n] && col >= cells.left[n] && col < cells.left[n] + cells.width[n]);
}
