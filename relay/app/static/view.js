// What the canvas shows: a slice of an image in a window of values, and its mask over it; zoomed and moved.

/** The lowest and highest value, without the outermost 0.5 %, of at most some 100 000 values. */
export function span(values) {
  const step = Math.max(1, Math.floor(values.length / 100000));
  const some = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) some.push(values[i]);
  some.sort((a, b) => a - b);
  const at = (share) => some[Math.min(some.length - 1, Math.floor(share * some.length))] ?? 0;
  const [low, high] = [at(0.005), at(0.995)];
  return { least: some[0] ?? 0, most: some.at(-1) ?? 1, low, high: high > low ? high : low + 1 };
}

/** Values as grey levels 0 to 255: `level` is the middle of the window. */
export function windowed(values, level, width) {
  const [low, scale] = [level - width / 2, 255 / width];
  const grey = new Uint8ClampedArray(values.length);
  for (let i = 0; i < values.length; i++) grey[i] = (values[i] - low) * scale;
  return grey;
}

/** Red, green and blue of #rrggbb. */
export function rgb(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

export class View {
  /**
   * canvas: where to draw. image: a Volume with `channels` values for each voxel. mask: a Volume. colours: #rrggbb of each class.
   * spacing: millimetres along each axis of the volume.
   */
  constructor(canvas, image, channels, mask, colours, spacing) {
    Object.assign(this, { canvas, image, channels, mask, spacing, shown: null });
    // each colour as the four bytes of a pixel; background is transparent
    this.colours = new Uint32Array(new Uint8Array(colours.flatMap((colour, k) => [...rgb(colour), k ? 255 : 0])).buffer);
    Object.assign(this, { axis: 0, k: 0, zoom: 1, x: 0, y: 0, opacity: 0.45, hidden: false, cross: null, corners: [] });
    const { low, high, least, most } = span(image.data);
    const exact = channels > 1; // colours are shown as they are
    Object.assign(this, { least, most, level: exact ? 127.5 : (low + high) / 2, width: exact ? 255 : high - low });
    this.layers = [0, 1].map(() => document.createElement("canvas"));
  }

  /** Width and height of a voxel of the slice that is shown, relative to the smaller of them. */
  get aspect() {
    const [deep, high, wide] = this.spacing;
    const [x, y] = [[wide, high], [wide, deep], [high, deep]][this.axis];
    return [x / Math.min(x, y), y / Math.min(x, y)];
  }

  /** Show the whole slice. */
  fit() {
    const [width, height] = this.mask.size(this.axis);
    const [ax, ay] = this.aspect;
    this.zoom = Math.min(this.canvas.width / (width * ax), this.canvas.height / (height * ay));
    this.x = (this.canvas.width - width * ax * this.zoom) / 2;
    this.y = (this.canvas.height - height * ay * this.zoom) / 2;
  }

  /** Zoom so that a point of the canvas stays where it is. */
  zoomAt([px, py], factor) {
    const zoom = Math.min(80, Math.max(0.05, this.zoom * factor));
    this.x = px - ((px - this.x) * zoom) / this.zoom;
    this.y = py - ((py - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
  }

  /** A point of the canvas as a place in the slice; the centre of the first voxel is (0, 0). */
  voxel([px, py]) {
    const [ax, ay] = this.aspect;
    return [(px - this.x) / (ax * this.zoom) - 0.5, (py - this.y) / (ay * this.zoom) - 0.5];
  }

  /** The point of the canvas of a place in the slice. */
  point([x, y]) {
    const [ax, ay] = this.aspect;
    return [(x + 0.5) * ax * this.zoom + this.x, (y + 0.5) * ay * this.zoom + this.y];
  }

  /** Draw everything. `slice`: shown in place of the mask's own, while something is being drawn. */
  draw(slice = this.mask.slice(this.axis, this.k)) {
    const context = this.canvas.getContext("2d");
    const [ax, ay] = this.aspect;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(ax * this.zoom, 0, 0, ay * this.zoom, this.x, this.y);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = 1;
    context.drawImage(this.#picture(), 0, 0);
    context.globalAlpha = this.hidden ? 0 : this.opacity;
    context.drawImage(this.#painted(1, this.#overlay(slice)), 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    this.#marks(context);
  }

  #painted(layer, pixels) {
    const canvas = this.layers[layer];
    Object.assign(canvas, { width: pixels.width, height: pixels.height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }

  /** The slice of the image; while one draws, it is the same. */
  #picture() {
    const now = [this.image, this.axis, this.k, this.level, this.width];
    if (this.shown?.every((each, i) => each === now[i])) return this.layers[0];
    this.shown = now;
    const slice = this.image.slice(this.axis, this.k, this.channels);
    const grey = windowed(slice.data, this.level, this.width);
    const pixels = new ImageData(slice.width, slice.height);
    for (let i = 0; i < slice.width * slice.height; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = grey[this.channels * i + (this.channels > 1 ? c : 0)];
      pixels.data[4 * i + 3] = 255;
    }
    return this.#painted(0, pixels);
  }

  #overlay({ data, width, height }) {
    const pixels = new ImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    for (let i = 0; i < data.length; i++) words[i] = this.colours[data[i]];
    return pixels;
  }

  /** The corners of a polygon, and the cross that the keyboard moves; dark and light, so that they are seen on anything. */
  #marks(context) {
    for (const [colour, width] of [["#000", 4], ["#fff", 1.5]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.beginPath();
      this.corners.forEach((corner, i) => context[i ? "lineTo" : "moveTo"](...this.point(corner)));
      if (this.cross) {
        const [x, y] = this.point(this.cross);
        for (const [dx, dy] of [[9, 0], [0, 9]]) {
          context.moveTo(x - dx, y - dy);
          context.lineTo(x + dx, y + dy);
        }
      }
      context.stroke();
    }
  }
}
