// The viewer of an image with its masks: planes come from the server one by one, with 16 bits; window, opacity and
// outlines are applied here, so that changing them needs no request. Up to two models side by side.

import { listen } from "./gestures.js";
import { legend } from "./legend.js";
import { coloursOf, compose, outlines, place } from "./picture.js";
import { Planes, answered } from "./planes.js";

const root = document.getElementById("viewer");
const source = root.dataset.source;
const state = document.getElementById("viewer-state");
const control = (name) => document.getElementById(name);
const panels = [];
const view = { axis: 0, at: 0, channel: 0, low: 0, high: 1, zoom: 1, x: 0, y: 0 };
const planes = new Planes(source, view);
let about;
let wanted = 0;

const count = () => about.shape[view.axis];
const placed = () => panels.forEach((each) => place(about, view, each));

// -- drawing --------------------------------------------------------------------------------------------------------------

async function draw() {
  const now = ++wanted;
  tell();
  try {
    for (const panel of panels) {
      const names = [...(control("truth").checked && about.masks.includes("truth") ? ["truth"] : []), panel.model];
      const used = names.filter(Boolean);
      const [image, ...labels] = await Promise.all([planes.get(null, view.at), ...used.map((name) => planes.get(name, view.at))]);
      if (now !== wanted) return;
      const number = panels.indexOf(panel);
      const masks = used.map((name, i) => ({ name, labels: new Uint8Array(labels[i]), colours: coloursOf(about, name, number) }));
      panel.lines = control("outlines").checked ? masks.flatMap((mask) => outlines(about, view, mask)) : [];
      show(panel, compose(about, view, image, masks.at(-1), control("opacity").value / 100));
    }
    state.textContent = "";
    state.className = "";
    planes.ahead([null, ...about.masks.filter((name) => name === "truth" || panels.some(({ model }) => model === name))], count());
  } catch (error) {
    state.textContent = error.message;
    state.className = "error";
  }
}

function show(panel, drawn) {
  panel.sheet.width = drawn.width;
  panel.sheet.height = drawn.height;
  panel.sheet.getContext("2d").putImageData(drawn, 0, 0);
  place(about, view, panel);
}

function tell() {
  const plain = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
  control("slice-told").value = `${view.at + 1} of ${count()}`;
  control("opacity-told").value = `${control("opacity").value} %`;
  control("level-told").value = plain((view.low + view.high) / 2);
  control("width-told").value = plain(view.high - view.low);
  for (const { canvas, model } of panels) {
    canvas.setAttribute("aria-label", `Slice ${view.at + 1} of ${count()}${model ? `, ${about.labels[model]}` : ""}`);
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
  placed();
}

function move(x, y) {
  view.x += x;
  view.y += y;
  placed();
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
  const score = model && about.scores[model] ? `: ${about.scores[model]}` : "";
  const empty = about.empty.includes(model) ? ": nothing was predicted" : "";
  caption.textContent = `${about.labels[model] ?? "the image"}${score}${empty}${truth}`;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  figure.append(canvas, caption);
  root.querySelector(".panels").append(figure);
  const made = { canvas, model, sheet: document.createElement("canvas"), lines: [] };
  listen(canvas, view, { go, zoom, reset, setWindow, move, count, about: () => about });
  panels.push(made);
}

function arrange() {
  root.querySelector(".panels").replaceChildren();
  panels.length = 0;
  panel(control("left").value);
  if (control("right").value) panel(control("right").value);
  legend(root, about, panels);
  draw();
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
  options(control("left"), [["", "the image alone"], ...models.map((name) => [name, about.labels[name]])]);
  options(control("right"), [["", "none"], ...models.map((name) => [name, about.labels[name]])]);
  options(control("channel"), about.scales.map((_, c) => [c, `${c + 1}`]));
  control("left").value = about.best ?? models[0] ?? "";
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
  addEventListener("resize", placed);
}

begin();
