// Masks of the loss bench: arrays of 0 and 1, row by row, and how links and questions hold them.

export const SIDE = 128;

export const empty = () => new Uint8Array(SIDE * SIDE);

// Lengths of runs: of 0s first, then of 1s, and so on.
export function toRuns(mask) {
  const runs = [];
  let value = 0, length = 0;
  for (const pixel of mask) {
    if (pixel === value) { length += 1; continue; }
    runs.push(length);
    value = pixel; length = 1;
  }
  runs.push(length);
  return runs;
}

export function fromRuns(runs) {
  const mask = empty();
  let at = 0;
  runs.forEach((length, n) => { mask.fill(n % 2, at, at + length); at += length; });
  if (at !== mask.length) throw new Error("the mask does not fill the picture");
  return mask;
}

// The mask moved by rows and columns; what leaves the picture is gone.
export function moved(mask, rows, cols) {
  const to = empty();
  for (let row = 0; row < SIDE; row++) {
    for (let col = 0; col < SIDE; col++) {
      const [r, c] = [row - rows, col - cols];
      if (r >= 0 && r < SIDE && c >= 0 && c < SIDE) to[row * SIDE + col] = mask[r * SIDE + c];
    }
  }
  return to;
}

// A line of discs, painted into the mask.
export function stroke(mask, from, to, diameter, value) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y)));
  for (let n = 0; n <= steps; n++) {
    const x = from.x + (to.x - from.x) * n / steps, y = from.y + (to.y - from.y) * n / steps;
    const reach = diameter / 2;
    for (let row = Math.max(0, Math.floor(y - reach)); row <= Math.min(SIDE - 1, y + reach); row++) {
      for (let col = Math.max(0, Math.floor(x - reach)); col <= Math.min(SIDE - 1, x + reach); col++) {
        if (Math.hypot(col + 0.5 - x, row + 0.5 - y) <= reach) mask[row * SIDE + col] = value;
      }
    }
  }
}

// The state as the part of an address behind "#".
export function toLink(state) {
  const runs = (mask) => toRuns(mask).map((length) => length.toString(36)).join(".");
  const fields = { t: runs(state.truth), p: runs(state.prediction), c: state.certainty, d: state.doubt, b: state.blur, v: state.view };
  const query = new URLSearchParams(fields);
  state.losses.forEach((loss) => query.append("l", loss));
  return query.toString();
}

export function fromLink(hash) {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  if (!query.has("t") || !query.has("p")) return null;
  const mask = (name) => fromRuns(query.get(name).split(".").map((length) => parseInt(length, 36)));
  return {
    truth: mask("t"), prediction: mask("p"), certainty: Number(query.get("c")), doubt: Number(query.get("d")),
    blur: Number(query.get("b")), view: query.get("v") || "gradient", losses: query.getAll("l").slice(0, 4),
  };
}
