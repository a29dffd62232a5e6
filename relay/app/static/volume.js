// Volumes as slices across an axis; undo and redo; and what is drawn on several slices at once.

import { between } from "./mask.js";

/** A volume of class indices with three axes, seen as slices across one of them; a 2D mask has one slice. */
export class Volume {
  constructor(data, shape) {
    this.data = data;
    this.shape = shape.length === 2 ? [1, ...shape] : shape;
  }

  /** Width, height and number of slices across an axis. */
  size(axis) {
    const [depth, rows, columns] = this.shape;
    return [[columns, rows, depth], [columns, depth, rows], [rows, depth, columns]][axis];
  }

  /** Where the voxel (x, y) of slice k is. Coronal and sagittal slices have the head (the last axial slice) up. */
  place(axis, k) {
    const [depth, rows, columns] = this.shape;
    if (axis === 0) return [k * rows * columns, 1, columns];
    const top = (depth - 1) * rows * columns;
    return axis === 1 ? [top + k * columns, 1, -rows * columns] : [top + k, columns, -rows * columns];
  }

  /** A copy of a slice; `channels` values for each voxel. */
  slice(axis, k, channels = 1) {
    const [width, height] = this.size(axis);
    const [start, dx, dy] = this.place(axis, k);
    const data = new this.data.constructor(width * height * channels);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (start + x * dx + y * dy) * channels;
        for (let c = 0; c < channels; c++) data[at++] = this.data[from + c];
      }
    }
    return { data, width, height };
  }

  /** Put a slice back; return what changed, for undo: places, values before and after. */
  put(axis, k, { data, width, height }) {
    const [start, dx, dy] = this.place(axis, k);
    const [places, before, after] = [[], [], []];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [at, now] = [start + x * dx + y * dy, data[y * width + x]];
        if (this.data[at] === now) continue;
        places.push(at);
        before.push(this.data[at]);
        after.push(now);
        this.data[at] = now;
      }
    }
    return { axis, k, places, before, after };
  }
}

/** Undo and redo: each step is a list of changes by Volume.put. */
export class History {
  constructor(volume, most = 200) {
    Object.assign(this, { volume, most, done: [], undone: [] });
  }

  /** Remember a step; one that changed nothing is none. */
  add(changes) {
    const real = changes.filter(({ places }) => places.length);
    if (!real.length) return false;
    this.done.push(real);
    if (this.done.length > this.most) this.done.shift();
    this.undone = [];
    return true;
  }

  undo() {
    return this.#move(this.done, this.undone, "before");
  }

  redo() {
    return this.#move(this.undone, this.done, "after");
  }

  /** Returns the step, whose first change says which slice to show; nothing if there is none. */
  #move(from, to, which) {
    const step = from.pop();
    if (!step) return undefined;
    to.push(step);
    const ordered = which === "before" ? [...step].reverse() : step;
    for (const change of ordered) change.places.forEach((at, i) => (this.volume.data[at] = change[which][i]));
    return step;
  }
}

/** Draw a class on all slices between slice k and the nearest one, down or up, that has it, if slices between lack it.
 *  Returns the changes; none if there is no such slice. */
export function interpolate(volume, axis, k, value) {
  const many = volume.size(axis)[2];
  const has = (i) => volume.slice(axis, i).data.includes(value);
  if (!has(k)) return [];
  const changes = [];
  for (const step of [-1, 1]) {
    let other = k + step;
    while (other >= 0 && other < many && !has(other)) other += step;
    if (other < 0 || other >= many || Math.abs(other - k) < 2) continue;
    const [here, there] = [volume.slice(axis, k), volume.slice(axis, other)];
    for (let i = k + step; i !== other; i += step) {
      const slice = volume.slice(axis, i);
      between(here, there, Math.abs(i - k) / Math.abs(other - k), slice, value);
      changes.push(volume.put(axis, i, slice));
    }
  }
  return changes;
}
