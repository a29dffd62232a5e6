// The editor of a mask: it loads an image and a mask, connects the controls with the tools, and saves a new version.

import { counted } from "./mask.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";
import { Wire } from "./wire.js";

const editor = document.querySelector(".editor");
const about = JSON.parse(editor.dataset.about);
const wire = new Wire(about);
const canvas = editor.querySelector("canvas");
const control = (name) => document.getElementById(name);
const field = (name) => control(name).closest(".field");
const say = (text) => (editor.querySelector(".saved").textContent = text);
let [view, tools, source, called, dirty, used, counting] = [null, null, null, null, false, Date.now(), 0];

// -- controls ----------------------------------------------------------------------------------------------------------

function option(select, value, text) {
  const made = document.createElement("option");
  Object.assign(made, { value, textContent: text });
  select.append(made);
}

function classes() {
  const legend = editor.querySelector(".classes");
  about.classes.forEach(({ name, colour }, k) => {
    if (!k) return;
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "class", value: k, checked: k === 1 });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.backgroundColor = colour;
    const many = document.createElement("span");
    many.className = "many";
    label.append(radio, swatch, ` ${k} ${name} `, many);
    radio.addEventListener("change", () => choose(k));
    legend.append(label);
  });
}

function choose(k) {
  if (!(k > 0 && k < about.classes.length)) return;
  tools.value = k;
  editor.querySelector(`[name="class"][value="${k}"]`).checked = true;
  if (tools.tool === "eraser") pick("brush");
}

function pick(tool) {
  tools.tool = tool;
  if (tool !== "polygon") tools.drop();
  for (const button of editor.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
}

/** Show everything as it is now; `edited`: the mask was changed. */
function changed(edited = false) {
  if (edited) {
    dirty = true;
    say("");
    awake();
  }
  const [, , many] = view.mask.size(view.axis);
  Object.assign(control("slice"), { max: many - 1, value: view.k });
  control("plane").value = view.axis;
  field("slice").hidden = many === 1;
  control("level").value = view.level;
  control("window").value = view.width;
  const where = many === 1 ? "" : `slice ${view.k + 1} of ${many}; `;
  const at = view.cross ? `cross at column ${view.cross[0] + 1}, row ${view.cross[1] + 1}; ` : "";
  editor.querySelector(".reading").textContent = `${where}${at}level ${view.level.toPrecision(3)}, window ${view.width.toPrecision(3)}`;
  for (const [name, steps] of [["undo", tools.history.done], ["redo", tools.history.undone]]) editor.querySelector(`[data-do="${name}"]`).disabled = !steps.length;
  if (edited) {
    clearTimeout(counting);
    counting = setTimeout(legend, 200); // a volume has many voxels
  }
  view.draw();
}

function legend() {
  const counts = counted(view.mask.data, about.classes.length);
  editor.querySelectorAll(".many").forEach((each, k) => (each.textContent = `${counts[k + 1]} voxels`));
}

const ACTIONS = {
  smooth: () => tools.smooth(),
  interpolate: () => tools.interpolate() || say("There is nothing to interpolate: no other slice with slices between has this class."),
  undo: () => tools.undo(),
  redo: () => tools.redo(),
  fit: () => (view.fit(), changed()),
};

const KEYS = {
  b: () => pick("brush"),
  e: () => pick("eraser"),
  p: () => pick("polygon"),
  f: () => pick("fill"),
  v: () => pick("pan"),
  s: ACTIONS.smooth,
  i: ACTIONS.interpolate,
  "[": () => resize(-1),
  "]": () => resize(1),
  Home: ACTIONS.fit,
  PageUp: () => tools.step(1),
  PageDown: () => tools.step(-1),
  "+": () => zoom(1.25),
  "-": () => zoom(0.8),
  Escape: () => tools.drop(),
  ArrowLeft: (far) => tools.cross(-far, 0),
  ArrowRight: (far) => tools.cross(far, 0),
  ArrowUp: (far) => tools.cross(0, -far),
  ArrowDown: (far) => tools.cross(0, far),
};

function resize(by) {
  const size = control("size");
  size.value = Number(size.value) + by;
  tools.size = Number(size.value);
}

function zoom(factor) {
  view.zoomAt([canvas.width / 2, canvas.height / 2], factor);
  changed();
}

function key(event) {
  const typing = event.target.closest("input:not([type=range]):not([type=radio]), select, textarea");
  if (typing || event.altKey) return;
  const own = event.target === canvas;
  if (event.ctrlKey || event.metaKey) {
    const action = { z: event.shiftKey ? ACTIONS.redo : ACTIONS.undo, y: ACTIONS.redo }[event.key.toLowerCase()];
    if (action) return event.preventDefault(), action();
    return;
  }
  if (event.key === " " && own) return event.preventDefault(), void (tools.space = true);
  if (event.key === "h" && !event.repeat) return (view.hidden = true), changed();
  if (event.key === "Enter" && own) return event.preventDefault(), void tools.press();
  if (event.key === "0") return pick("eraser");
  if (/^[1-9]$/.test(event.key)) return choose(Number(event.key));
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || (event.key.length > 1 && !own)) return;
  event.preventDefault();
  action(event.shiftKey ? 10 : 1);
}

function connect() {
  for (const button of editor.querySelectorAll("[data-tool]")) button.addEventListener("click", () => pick(button.dataset.tool));
  for (const button of editor.querySelectorAll("[data-do]")) button.addEventListener("click", () => ACTIONS[button.dataset.do]());
  const on = (name, what) => control(name).addEventListener("input", (event) => what(Number(event.target.value)));
  on("slice", (value) => tools.go(value));
  on("plane", (value) => {
    Object.assign(view, { axis: value, k: Math.floor(view.mask.size(value)[2] / 2), cross: null, corners: [] });
    view.fit();
    changed();
  });
  on("size", (value) => (tools.size = value));
  on("opacity", (value) => ((view.opacity = value / 100), changed()));
  on("level", (value) => ((view.level = value), changed()));
  on("window", (value) => ((view.width = value), changed()));
  on("channel", async (value) => {
    const other = await wire.image(value);
    Object.assign(view, { image: other.volume });
    range();
    changed();
  });
  control("source").addEventListener("change", async ({ target }) => {
    if (dirty && !confirm("Drop what you have changed?")) return void (target.value = source);
    await open(target.value, view.image, view.channels, view.spacing);
  });
  document.addEventListener("keydown", key);
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") tools.space = false;
    if (event.key === "h") (view.hidden = false), changed();
  });
  addEventListener("beforeunload", (event) => dirty && event.preventDefault());
  addEventListener("resize", () => (sized(), changed()));
  editor.querySelector("form").addEventListener("submit", save);
}

/** The canvas has as many pixels as the screen shows of it. */
function sized() {
  const box = canvas.getBoundingClientRect();
  Object.assign(canvas, { width: Math.round(box.width * devicePixelRatio), height: Math.round(box.height * devicePixelRatio) });
  view.fit();
}

function range() {
  const { least, most } = view;
  Object.assign(control("level"), { min: least, max: most });
  Object.assign(control("window"), { min: (most - least) / 500 || 1, max: 2 * (most - least) || 2 });
}

// -- loading and saving ------------------------------------------------------------------------------------------------

async function open(from, volume, channels, spacing, shape = view.mask.shape) {
  const got = await wire.mask(from, shape);
  const drawn = got.mask;
  [source, called] = [from, got.called];
  if (view) {
    view.mask = drawn;
    tools.history = new tools.history.constructor(drawn);
  } else {
    view = new View(canvas, volume, channels, drawn, about.classes.map(({ colour }) => colour), spacing);
    tools = new Tools(view, changed);
    view.k = Math.floor(drawn.size(0)[2] / 2);
  }
  dirty = false;
  legend();
  changed();
}

/** Drawing for a long time asks the server for nothing: tell it now and then, so that it does not lock. */
function awake() {
  if (Date.now() - used < 60000) return;
  used = Date.now();
  wire.token().catch((error) => say(`The page can't be reached (${error.message}). What you have drawn is kept here.`));
}

async function save(event) {
  event.preventDefault();
  const button = event.submitter;
  try {
    const said = await wire.save(view.mask.data, called, control("by").value);
    if (said.error) return say(`Not saved: ${said.error} What to do: ${said.advice}`);
    dirty = false;
    [source, called] = ["newest", `version ${said.version}`];
    if (!control("source").querySelector('[value="newest"]')) option(control("source"), "newest", "newest");
    control("source").value = "newest";
    say(`Saved as version ${said.version}: ${said.path}`);
  } catch (error) {
    say(`Not saved: the page is locked or can't be reached (${error.message}). Open it in another tab with a new link, and save again here: what you have drawn is kept.`);
  } finally {
    if (button) button.disabled = false;
  }
}

async function begin() {
  const loaded = await wire.image();
  classes();
  for (const name of about.sources) option(control("source"), name, name);
  for (let k = 0; k < loaded.files; k++) option(control("channel"), k, k + 1);
  field("channel").hidden = loaded.files < 2;
  field("plane").hidden = loaded.shape.length < 3;
  editor.querySelector('[data-do="interpolate"]').hidden = loaded.shape.length < 3;
  await open(about.sources[0], loaded.volume, loaded.channels, loaded.spacing, loaded.shape);
  range();
  sized();
  connect();
  changed();
  editor.dataset.ready = "";
}

begin().catch((error) => say(`The image can't be shown: ${error.message}`));
