// The viewer of an image with its masks: planes come from the server one by one, with 16 bits; window, opacity and
// outlines are applied here, so that changing them needs no request. Up to two models side by side.

const root = document.getElementById("viewer");
const source = root.dataset.source;
const state = document.getElementById("viewer-state");
const control = (name) => document.getElementById(name);
const KEPT = 160; // planes in memory
const AHEAD = 3; // planes that are asked for before they are seen

const planes = new Map();
const panels = [];
const view = { axis: 0, at: 0, channel: 0, low: 0, high: 1, zoom: 1, x: 0, y: 0 };
let about;
let wanted = 0;

async function answered(address) {
  const answer = await fetch(address);
  if (answer.ok) return answer;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  throw new Error(page.querySelector(".error")?.innerText.trim() || page.body.textContent.trim());
}

function plane(mask, at) {
  const asked = new URLSearchParams({ axis: view.axis, at, channel: view.channel });
  if (mask) asked.set("mask", mask);
  const address = `${source}&${asked}`;
  const found = planes.get(address) ?? answered(address).then((answer) => answer.arrayBuffer());
  planes.delete(address); // so that the last used is the last in order
  planes.set(address, found);
  found.catch(() => planes.delete(address));
  while (planes.size > KEPT) planes.delete(planes.keys().next().value);
  return found;
}

// -- geometry: axis 0 is axial, 1 coronal, 2 sagittal; the last two are drawn with the feet below -----------------------

const count = () => about.shape[view.axis];
const sides = () => about.shape.filter((_, axis) => axis !== view.axis);
const steps = () => (about.spacing ?? [1, 1, 1]).filter((_, axis) => axis !== view.axis);

// -- drawing --------------------------------------------------------------------------------------------------------------

function shades() {
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
function coloursOf(name, place) {
  const own = name === "truth" ? about.colours.truth : about.colours.others[place];
  const several = about.classes.length > 2;
  return Array.from({ length: 256 }, (_, k) => (several ? about.palette[((k + 6) % 7) + 1] : own));
}

function compose(image, filled) {
  const [rows, columns] = sides();
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
    const [table, words] = [shades(), new Uint16Array(image)];
    for (let i = 0, j = 0; i < out.length; i += 4, j++) {
      out[i] = out[i + 1] = out[i + 2] = table[words[j]];
      out[i + 3] = 255;
    }
  }
  if (filled) {
    const [opacity, fills] = [control("opacity").value / 100, filled.colours.map(colourOf)];
    const { labels } = filled;
    for (let j = 0; j < labels.length; j++) if (labels[j]) paint(out, j, fills[labels[j]], opacity);
  }
  return drawn;
}

// The borders of each class as a path along the edges of pixels.
function outlines({ labels, colours, name }) {
  const [rows, columns] = sides();
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

async function draw() {
  const now = ++wanted;
  tell();
  try {
    for (const panel of panels) {
      const names = [...(control("truth").checked && about.masks.includes("truth") ? ["truth"] : []), panel.model];
      const used = names.filter(Boolean);
      const [image, ...labels] = await Promise.all([plane(null, view.at), ...used.map((name) => plane(name, view.at))]);
      if (now !== wanted) return;
      const place = panels.indexOf(panel);
      const masks = used.map((name, i) => ({ name, labels: new Uint8Array(labels[i]), colours: coloursOf(name, place) }));
      panel.lines = control("outlines").checked ? masks.flatMap(outlines) : [];
      show(panel, compose(image, masks.at(-1)));
    }
    state.textContent = "";
    state.className = "";
    prefetch();
  } catch (error) {
    state.textContent = error.message;
    state.className = "error";
  }
}

function show(panel, drawn) {
  panel.sheet.width = drawn.width;
  panel.sheet.height = drawn.height;
  panel.sheet.getContext("2d").putImageData(drawn, 0, 0);
  place(panel);
}

function place({ canvas, sheet, lines }) {
  const dense = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * dense;
  canvas.height = canvas.clientHeight * dense;
  const context = canvas.getContext("2d");
  const [down, across] = steps();
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

function prefetch() {
  const names = [null, ...about.masks.filter((name) => name === "truth" || panels.some(({ model }) => model === name))];
  for (let away = 1; away <= AHEAD; away++) {
    for (const at of [view.at + away, view.at - away]) {
      if (at >= 0 && at < count()) names.forEach((name) => plane(name, at).catch(() => {})); // shown when it is drawn
    }
  }
}

function tell() {
  const plain = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
  control("slice-told").value = `${view.at + 1} of ${count()}`;
  control("opacity-told").value = `${control("opacity").value} %`;
  control("level-told").value = plain((view.low + view.high) / 2);
  control("width-told").value = plain(view.high - view.low);
  for (const { canvas, model } of panels) {
    canvas.setAttribute("aria-label", `Slice ${view.at + 1} of ${count()}${model ? `, ${model}` : ""}`);
  }
}

// -- controls -------------------------------------------------------------------------------------------------------------

function go(at) {
  view.at = Math.max(0, Math.min(count() - 1, at));
  control("slice").value = view.at;
  draw();
}

function zoom(factor) {
  view.zoom = Math.max(0.2, Math.min(40, view.zoom * factor));
  panels.forEach(place);
}

function reset() {
  Object.assign(view, { zoom: 1, x: 0, y: 0 });
  if (!about.colour) [view.low, view.high] = about.scales[view.channel].window;
  windowed();
}

function windowed() {
  if (!about.colour) {
    const { low, most } = about.scales[view.channel];
    const range = Math.max(most - low, 1e-9);
    Object.assign(control("level"), { min: low, max: low + range, value: (view.low + view.high) / 2 });
    Object.assign(control("width"), { min: range / 1000, max: range, value: view.high - view.low });
  }
  draw();
}

function setWindow(level, width) {
  [view.low, view.high] = [level - width / 2, level + width / 2];
  windowed();
}

function turn(axis) {
  view.axis = axis;
  control("slice").max = count() - 1;
  go(axis === about.across ? about.at : count() >> 1);
}

function panel(model) {
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption");
  const truth = about.truth ? `; the truth is: ${about.truth}` : "";
  caption.textContent = `${model || "the image"}${about.empty.includes(model) ? ": nothing was predicted" : ""}${truth}`;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  figure.append(canvas, caption);
  root.querySelector(".panels").append(figure);
  const made = { canvas, model, sheet: document.createElement("canvas"), lines: [] };
  listen(canvas);
  panels.push(made);
}

function arrange() {
  root.querySelector(".panels").replaceChildren();
  panels.length = 0;
  panel(control("left").value);
  if (control("right").value) panel(control("right").value);
  legend();
  draw();
}

function legend() {
  const entry = (colour, text) => {
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colour;
    item.append(swatch, text);
    return item;
  };
  const { colours, classes, palette, masks } = about;
  const names = panels.filter(({ model }) => model).map(({ model }) => model);
  const own = [
    ...(masks.includes("truth") ? [entry(colours.truth, "truth")] : []),
    ...names.map((name, place) => entry(colours.others[place], name)),
  ];
  const several = classes.slice(1).map((name, k) => entry(palette[(k % 7) + 1], name));
  root.querySelector("#lines").textContent = linesSay(masks.includes("truth"), names.length);
  root.querySelector(".legend").replaceChildren(...(classes.length > 2 && masks.length ? several : own));
}

// What lines and colour stand for: without a model's mask, colour is the truth.
function linesSay(truth, models) {
  if (!truth) return models ? "Lines and colour: the model." : "";
  if (!models) return "Lines and colour: the truth.";
  const rest = models < panels.length ? " In the picture without a model, colour is the truth." : "";
  return `Thick lines: the truth. Thin lines and colour: the model.${rest}`;
}

const KEYS = {
  ArrowUp: () => go(view.at + 1),
  ArrowRight: () => go(view.at + 1),
  ArrowDown: () => go(view.at - 1),
  ArrowLeft: () => go(view.at - 1),
  PageUp: () => go(view.at + 10),
  PageDown: () => go(view.at - 10),
  Home: () => go(0),
  End: () => go(count() - 1),
  "+": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: reset,
};

function listen(canvas) {
  canvas.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.ctrlKey) zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
      else go(view.at - Math.sign(event.deltaY));
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    if (event.shiftKey || about.colour) {
      view.x += event.movementX;
      view.y += event.movementY;
      panels.forEach(place);
      return;
    }
    const { low, most } = about.scales[view.channel];
    const step = Math.max(most - low, 1e-9) / 600;
    const width = Math.max(step / 10, view.high - view.low + event.movementX * step);
    setWindow((view.low + view.high) / 2 + event.movementY * step, width);
  });
}

function options(select, names) {
  select.replaceChildren(...names.map(([value, text]) => new Option(text, value)));
}

function hide(name, hidden) {
  control(name).closest("p").hidden = hidden;
}

async function begin() {
  try {
    about = await (await answered(source)).json();
  } catch (error) {
    state.textContent = error.message;
    state.className = "error";
    return;
  }
  const models = about.masks.filter((name) => name !== "truth");
  options(control("left"), [["", "the image alone"], ...models.map((name) => [name, name])]);
  options(control("right"), [["", "none"], ...models.map((name) => [name, name])]);
  options(control("channel"), about.scales.map((_, c) => [c, `${c + 1}`]));
  control("left").value = models.findLast((name) => /^task_\d+(_lap\d+)?$/.test(name)) ?? models[0] ?? "";
  control("axis").value = about.across;
  hide("slice", about.shape[0] === 1);
  hide("axis", about.shape[0] === 1);
  hide("channel", about.scales.length < 2);
  hide("level", about.colour);
  hide("width", about.colour);
  hide("truth", !about.masks.includes("truth"));
  hide("left", !models.length);
  hide("right", models.length < 2);
  hide("opacity", !about.masks.length);
  hide("outlines", !about.masks.length);
  root.querySelector(".controls").hidden = false;
  Object.assign(view, { axis: about.across, at: about.at });
  control("slice").max = count() - 1;
  control("slice").value = view.at;
  reset();
  arrange();

  control("slice").addEventListener("input", ({ target }) => go(Number(target.value)));
  control("axis").addEventListener("change", ({ target }) => turn(Number(target.value)));
  control("channel").addEventListener("change", ({ target }) => {
    view.channel = Number(target.value);
    reset();
  });
  control("level").addEventListener("input", ({ target }) => setWindow(Number(target.value), view.high - view.low));
  control("width").addEventListener("input", ({ target }) => setWindow((view.low + view.high) / 2, Number(target.value)));
  for (const name of ["opacity", "outlines", "truth"]) control(name).addEventListener("input", draw);
  for (const name of ["left", "right"]) control(name).addEventListener("change", arrange);
  control("reset").addEventListener("click", reset);
  root.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("resize", () => panels.forEach(place));
}

begin();
