// A plane as it is drawn: intensities in their window, a mask filled and outlined, the voxels' shape on the screen.
// `about` is what the server says of the image, `view` what is shown of it. Axis 0 is axial, 1 coronal, 2 sagittal; the
// last two are drawn with the feet below.

const sides = (about, { axis }) => about.shape.filter((_, each) => each !== axis);
const steps = (about, { axis }) => (about.spacing ?? [1, 1, 1]).filter((_, each) => each !== axis);

function shades(about, view) {
  const { low, high } = about.scales[view.channel];
  const table = new Uint8ClampedArray(2 ** 16);
  const step = (high - low) / 65535;
  const factor = 255 / Math.max(view.high - view.low, 1e-12);
  for (let i = 0; i < table.length; i++) table[i] = (low + i * step - view.low) * factor;
  return table;
}

function colourOf(text) {
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// One class: each mask has its own colour. Several: a colour for each class.
export function coloursOf(about, name, place) {
  const own = name === "truth" ? about.colours.truth : about.colours.others[place];
  const several = about.classes.length > 2;
  return Array.from({ length: 256 }, (_, k) => (several ? about.palette[((k + 6) % 7) + 1] : own));
}

/** The pixels of a plane; `filled`: a mask over it, with its colours; opacity: 0 to 1. */
export function compose(about, view, image, filled, opacity) {
  const [rows, columns] = sides(about, view);
  const drawn = new ImageData(columns, rows);
  const out = drawn.data;
  if (about.colour) {
    const bytes = new Uint8Array(image);
    for (let i = 0, j = 0; i < out.length; i += 4, j += 3) {
      out[i] = bytes[j];
      out[i + 1] = bytes[j + 1];
      out[i + 2] = bytes[j + 2];
      out[i + 3] = 255;
    }
  } else {
    const [table, words] = [shades(about, view), new Uint16Array(image)];
    for (let i = 0, j = 0; i < out.length; i += 4, j++) {
      out[i] = out[i + 1] = out[i + 2] = table[words[j]];
      out[i + 3] = 255;
    }
  }
  if (filled) {
    const [{ labels }, fills] = [filled, filled.colours.map(colourOf)];
    for (let j = 0; j < labels.length; j++) if (labels[j]) paint(out, j, fills[labels[j]], opacity);
  }
  return drawn;
}

/** The borders of each class as a path along the edges of pixels. */
export function outlines(about, view, { labels, colours, name }) {
  const [rows, columns] = sides(about, view);
  const paths = new Map();
  const label = (row, column) => (row < 0 || column < 0 || row >= rows || column >= columns ? 0 : labels[row * columns + column]);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const k = labels[row * columns + column];
      if (!k) continue;
      if (!paths.has(k)) paths.set(k, new Path2D());
      const line = (x, y, to, down) => {
        paths.get(k).moveTo(x, y);
        paths.get(k).lineTo(to, down);
      };
      if (label(row - 1, column) !== k) line(column, row, column + 1, row);
      if (label(row + 1, column) !== k) line(column, row + 1, column + 1, row + 1);
      if (label(row, column - 1) !== k) line(column, row, column, row + 1);
      if (label(row, column + 1) !== k) line(column + 1, row, column + 1, row + 1);
    }
  }
  return [...paths].map(([k, path]) => ({ path, colour: colours[k], width: name === "truth" ? 3 : 1.5 }));
}

function paint(out, j, colour, opacity) {
  for (let c = 0; c < 3; c++) out[4 * j + c] += (colour[c] - out[4 * j + c]) * opacity;
}

/** Draw a panel on its canvas, as it is zoomed and moved. */
export function place(about, view, { canvas, sheet, lines }) {
  const dense = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * dense;
  canvas.height = canvas.clientHeight * dense;
  const context = canvas.getContext("2d");
  const [down, across] = steps(about, view);
  const fit = Math.min(canvas.width / (sheet.width * across), canvas.height / (sheet.height * down)) * view.zoom;
  context.imageSmoothingEnabled = false;
  context.translate(canvas.width / 2 + view.x * dense, canvas.height / 2 + view.y * dense);
  context.scale(fit * across, fit * down * (view.axis ? -1 : 1));
  context.translate(-sheet.width / 2, -sheet.height / 2);
  context.drawImage(sheet, 0, 0);
  const from = context.getTransform();
  context.resetTransform(); // lines are as thick on the screen, however far it is zoomed in
  for (const { path, colour, width } of lines) {
    const moved = new Path2D();
    moved.addPath(path, from);
    Object.assign(context, { strokeStyle: colour, lineWidth: width * dense });
    context.stroke(moved);
  }
}
