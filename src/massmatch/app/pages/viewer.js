// The canvas of the page "Read": a grey image of 16 bits under a window, moved and zoomed, with outlines on it.

const LINE = "#4696ff", OUTSIDE = "#ffaa3c";

export class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.image = null; // {columns, rows, pixels, window}
    this.outlines = []; // {number, inside_breast, centre, outlines} in rows and columns of the image
    this.hasOutlines = true;
    this.grey = new OffscreenCanvas(1, 1);
    this.waiting = false;
    new ResizeObserver(() => { this.resize(); this.fit(); }).observe(canvas);
  }

  show(image) {
    this.image = image;
    this.outlines = [];
    this.grey.width = image.columns;
    this.grey.height = image.rows;
    this.fit();
    this.setWindow(...image.window);
  }

  // Black at `low`, white at `high`: a table of all 65536 levels, looked up for each pixel.
  setWindow(low, high) {
    this.window = [low, Math.max(high, low + 1)];
    const table = new Uint32Array(65536), [black, white] = this.window;
    for (let level = 0; level < 65536; level++) {
      const value = Math.max(0, Math.min(255, Math.round((level - black) / (white - black) * 255)));
      table[level] = 0xff000000 | (value << 16) | (value << 8) | value;
    }
    const picture = new ImageData(this.image.columns, this.image.rows);
    const words = new Uint32Array(picture.data.buffer), pixels = this.image.pixels;
    for (let n = 0; n < words.length; n++) words[n] = table[pixels[n]];
    this.grey.getContext("2d").putImageData(picture, 0, 0);
    this.draw();
  }

  resize() {
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * devicePixelRatio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * devicePixelRatio));
  }

  fit() {
    if (!this.image) return;
    this.resize();
    const { columns, rows } = this.image;
    this.zoom = Math.min(this.canvas.width / columns, this.canvas.height / rows);
    this.left = (this.canvas.width - columns * this.zoom) / 2;
    this.top = (this.canvas.height - rows * this.zoom) / 2;
    this.draw();
  }

  // By a factor, around a point of the canvas in CSS pixels, or its middle.
  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    if (!this.image) return;
    const zoom = Math.max(0.02, Math.min(40, this.zoom * factor)), ratio = zoom / this.zoom;
    this.left = x * devicePixelRatio - (x * devicePixelRatio - this.left) * ratio;
    this.top = y * devicePixelRatio - (y * devicePixelRatio - this.top) * ratio;
    this.zoom = zoom;
    this.draw();
  }

  moveBy(x, y) {
    this.left += x * devicePixelRatio;
    this.top += y * devicePixelRatio;
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.drawNow(); });
  }

  drawNow() {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image) return;
    context.imageSmoothingEnabled = this.zoom < 4;
    context.drawImage(this.grey, this.left, this.top, this.image.columns * this.zoom, this.image.rows * this.zoom);
    if (this.hasOutlines) for (const finding of this.outlines) this.drawFinding(context, finding);
  }

  drawFinding(context, finding) {
    const place = ([row, col]) => [this.left + col * this.zoom, this.top + row * this.zoom];
    const path = new Path2D();
    for (const line of finding.outlines) line.forEach((point, n) => (n ? path.lineTo(...place(point)) : path.moveTo(...place(point))));
    const colour = finding.inside_breast === false ? OUTSIDE : LINE, width = 2 * devicePixelRatio;
    for (const [stroke, thick] of [["#000", 2 * width], [colour, width]]) {
      context.strokeStyle = stroke;
      context.lineWidth = thick;
      context.stroke(path);
    }
    const [x, y] = place(finding.outlines[0].reduce((top, point) => (point[0] < top[0] ? point : top)));
    context.font = `600 ${15 * devicePixelRatio}px system-ui, sans-serif`;
    context.lineWidth = 3 * devicePixelRatio;
    context.strokeStyle = "#000";
    context.strokeText(finding.number, x, y - 5 * devicePixelRatio);
    context.fillStyle = colour;
    context.fillText(finding.number, x, y - 5 * devicePixelRatio);
  }
}
