// The tools: what a pointer or a key on the canvas does to the mask.

import { fill, polygon, smooth, stroke } from "./mask.js";
import { History, interpolate } from "./volume.js";

export class Tools {
  /** view: a View. changed: called after every change of the mask or of what is shown. */
  constructor(view, changed) {
    Object.assign(this, { view, changed, tool: "brush", value: 1, size: 5, history: new History(view.mask) });
    Object.assign(this, { slice: null, last: null, dragged: null, space: false });
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#up(event));
    canvas.addEventListener("dblclick", () => this.close());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** The value that is drawn: the eraser draws background. */
  get drawn() {
    return this.tool === "eraser" ? 0 : this.value;
  }

  /** Where a stroke goes: with the smallest brush, from voxel to voxel. */
  #snapped(place) {
    return this.size > 1 ? place : place.map(Math.round);
  }

  #place(event) {
    const box = this.view.canvas.getBoundingClientRect();
    const scale = this.view.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  #down(event) {
    const { view } = this;
    view.canvas.focus({ preventScroll: true });
    view.canvas.setPointerCapture(event.pointerId);
    const point = this.#place(event);
    if (event.button === 1 || this.space || (event.button === 0 && this.tool === "pan")) this.dragged = ["pan", point];
    else if (event.button === 2) this.dragged = ["window", point];
    else if (event.button === 0) this.#begin(view.voxel(point));
    if (event.button === 1) event.preventDefault();
  }

  #begin(place) {
    if (this.tool === "polygon") {
      this.view.corners.push(place);
      this.view.draw();
    } else if (this.tool === "fill") this.fillAt(place);
    else {
      this.slice = this.view.mask.slice(this.view.axis, this.view.k);
      this.last = this.#snapped(place);
      this.#to(place);
    }
  }

  #to(place) {
    const next = this.#snapped(place);
    stroke(this.slice, this.last, next, this.size / 2, this.drawn);
    this.last = next;
    this.view.draw(this.slice);
  }

  #move(event) {
    const { view } = this;
    const point = this.#place(event);
    if (this.slice) this.#to(view.voxel(point));
    else if (this.dragged) {
      const [what, [x, y]] = this.dragged;
      const [dx, dy] = [point[0] - x, point[1] - y];
      this.dragged[1] = point;
      if (what === "pan") Object.assign(view, { x: view.x + dx, y: view.y + dy });
      else {
        const unit = (view.most - view.least || 1) / 500;
        Object.assign(view, { level: view.level + dy * unit, width: Math.max(unit, view.width + dx * unit) });
      }
      this.changed();
    }
  }

  #up() {
    if (this.slice) this.#keep(this.slice);
    Object.assign(this, { slice: null, dragged: null });
  }

  #keep(slice) {
    this.#kept([this.view.mask.put(this.view.axis, this.view.k, slice)]);
  }

  #kept(changes) {
    const edited = this.history.add(changes);
    this.changed(edited);
    return edited;
  }

  #wheel(event) {
    event.preventDefault();
    const flat = this.view.mask.size(this.view.axis)[2] === 1;
    if (event.ctrlKey || flat) this.view.zoomAt(this.#place(event), event.deltaY < 0 ? 1.2 : 1 / 1.2);
    else this.step(event.deltaY < 0 ? 1 : -1);
    this.changed();
  }

  /** Go to another slice. */
  step(by) {
    this.go(this.view.k + by);
  }

  go(k) {
    const { view } = this;
    view.k = Math.min(view.mask.size(view.axis)[2] - 1, Math.max(0, k));
    view.corners = [];
    this.changed();
  }

  /** Close the polygon: draw it. */
  close() {
    const { view } = this;
    if (view.corners.length > 2) {
      const slice = view.mask.slice(view.axis, view.k);
      polygon(slice, view.corners, this.drawn);
      view.corners = [];
      this.#keep(slice);
    } else this.drop();
  }

  /** Forget the polygon. */
  drop() {
    this.view.corners = [];
    this.changed();
  }

  fillAt(place) {
    const [x, y] = place.map(Math.round);
    const slice = this.view.mask.slice(this.view.axis, this.view.k);
    if (x < 0 || y < 0 || x >= slice.width || y >= slice.height) return;
    fill(slice, [x, y], this.drawn);
    this.#keep(slice);
  }

  smooth() {
    const slice = this.view.mask.slice(this.view.axis, this.view.k);
    smooth(slice, this.value);
    this.#keep(slice);
  }

  /** Returns whether there were slices to draw on. */
  interpolate() {
    return this.#kept(interpolate(this.view.mask, this.view.axis, this.view.k, this.value));
  }

  undo() {
    this.#shown(this.history.undo());
  }

  redo() {
    this.#shown(this.history.redo());
  }

  #shown(step) {
    if (step && !step.some(({ axis, k }) => axis === this.view.axis && k === this.view.k)) {
      Object.assign(this.view, { axis: step[0].axis, k: step[0].k });
      this.view.fit();
    }
    this.changed(Boolean(step));
  }

  /** Move the cross. */
  cross(dx, dy) {
    const { view } = this;
    const [width, height] = view.mask.size(view.axis);
    const [x, y] = view.cross ?? [Math.floor(width / 2) - dx, Math.floor(height / 2) - dy];
    view.cross = [Math.min(width - 1, Math.max(0, x + dx)), Math.min(height - 1, Math.max(0, y + dy))];
    this.changed();
  }

  /** Use the tool at the cross. */
  press() {
    if (!this.view.cross) return this.view.corners.length ? this.close() : this.cross(0, 0);
    if (this.tool === "polygon") {
      const [x, y] = this.view.corners.at(-1) ?? [];
      if (x === this.view.cross[0] && y === this.view.cross[1]) return this.close();
    }
    if (this.tool === "pan") return undefined;
    this.#begin([...this.view.cross]);
    return this.#up();
  }
}
