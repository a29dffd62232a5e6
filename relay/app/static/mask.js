// Masks as arrays of class indices: what the tools do to them. Nothing here knows a canvas.
//
// A slice is { data: Uint8Array, width, height }, row by row. Every tool changes it in place.

/** Put a value on every voxel whose centre is within a radius of the line from (x0, y0) to (x1, y1). */
export function stroke(slice, [x0, y0], [x1, y1], radius, value) {
  const { data, width, height } = slice;
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const limit = radius * radius;
  const [left, right] = [Math.max(0, Math.floor(Math.min(x0, x1) - radius)), Math.min(width - 1, Math.ceil(Math.max(x0, x1) + radius))];
  const [top, bottom] = [Math.max(0, Math.floor(Math.min(y0, y1) - radius)), Math.min(height - 1, Math.ceil(Math.max(y0, y1) + radius))];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = length ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length)) : 0;
      const [ox, oy] = [x - x0 - along * dx, y - y0 - along * dy];
      if (ox * ox + oy * oy <= limit) data[y * width + x] = value;
    }
  }
}

/** Put a value on every voxel whose centre is inside a polygon (even-odd rule). */
export function polygon(slice, points, value) {
  const { data, width, height } = slice;
  for (let y = 0; y < height; y++) {
    const crossings = [];
    points.forEach(([x0, y0], i) => {
      const [x1, y1] = points[(i + 1) % points.length];
      if (y0 <= y !== y1 <= y) crossings.push(x0 + ((y - y0) * (x1 - x0)) / (y1 - y0));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const end = Math.min(width - 1, Math.floor(crossings[i + 1]));
      for (let x = Math.max(0, Math.ceil(crossings[i])); x <= end; x++) data[y * width + x] = value;
    }
  }
}

/** Put a value on the connected region (by edges) of one class that holds a voxel. */
export function fill(slice, [x, y], value) {
  const { data, width, height } = slice;
  const start = y * width + x;
  const from = data[start];
  if (from === value) return;
  data[start] = value;
  const waiting = [start];
  while (waiting.length) {
    const at = waiting.pop();
    const column = at % width;
    const row = (at - column) / width;
    const near = [column > 0 && at - 1, column < width - 1 && at + 1, row > 0 && at - width, row < height - 1 && at + width];
    for (const next of near) {
      if (next !== false && data[next] === from) {
        data[next] = value;
        waiting.push(next);
      }
    }
  }
}

/** Smooth the edge of a class: a voxel has it if most of its 3 × 3 neighbourhood has; one that loses it gets the
 *  class that is most frequent there. Beyond the border, the outermost voxels are repeated. */
export function smooth(slice, value) {
  const { data, width, height } = slice;
  const before = data.slice();
  const clamp = (place, size) => Math.min(size - 1, Math.max(0, place));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const counts = new Map();
      for (let j = -1; j <= 1; j++) {
        for (let i = -1; i <= 1; i++) {
          const near = before[clamp(y + j, height) * width + clamp(x + i, width)];
          counts.set(near, (counts.get(near) ?? 0) + 1);
        }
      }
      const at = y * width + x;
      const own = counts.get(value) ?? 0;
      if (own > 4) data[at] = value;
      else if (before[at] === value) {
        counts.delete(value);
        data[at] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
      }
    }
  }
}

/** Squared distances along a line to the nearest voxel with f = 0: the lower envelope of parabolas
 *  (Felzenszwalb and Huttenlocher 2012, 10.4086/toc.2012.v008a019). */
function along(f, n) {
  const [found, places, bounds] = [new Float64Array(n), new Int32Array(n), new Float64Array(n + 1)];
  let last = 0;
  bounds[0] = -Infinity;
  bounds[1] = Infinity;
  for (let q = 1; q < n; q++) {
    const meets = () => (f[q] + q * q - (f[places[last]] + places[last] ** 2)) / (2 * q - 2 * places[last]);
    let s = meets();
    while (s <= bounds[last]) {
      last--;
      s = meets();
    }
    last++;
    places[last] = q;
    bounds[last] = s;
    bounds[last + 1] = Infinity;
  }
  for (let q = 0, k = 0; q < n; q++) {
    while (bounds[k + 1] < q) k++;
    found[q] = (q - places[k]) ** 2 + f[places[k]];
  }
  return found;
}

/** Euclidean distance of every voxel to the nearest one that is set; FAR if none is. */
export const FAR = 1e6;

export function distances(set, width, height) {
  const square = Float64Array.from(set, (each) => (each ? 0 : FAR * FAR));
  for (let x = 0; x < width; x++) {
    const column = along(Float64Array.from({ length: height }, (_, y) => square[y * width + x]), height);
    for (let y = 0; y < height; y++) square[y * width + x] = column[y];
  }
  for (let y = 0; y < height; y++) square.set(along(square.subarray(y * width, (y + 1) * width), width), y * width);
  return square.map((each) => Math.min(FAR, Math.sqrt(each)));
}

/** Signed distance to the edge of a class: negative inside. */
function signed({ data, width, height }, value) {
  const inside = data.map((each) => (each === value ? 1 : 0));
  const [out, within] = [distances(inside, width, height), distances(inside.map((each) => 1 - each), width, height)];
  return out.map((each, i) => each - within[i]);
}

/** The class on a slice between two: where the signed distances to its edges, mixed by place, are inside
 *  (shape-based interpolation: Raya and Udupa 1990, 10.1109/42.52980).
 *  Args: share, 0 at `before` and 1 at `after`; `slice` is changed: the class replaces what is there, and is removed elsewhere. */
export function between(before, after, share, slice, value) {
  const [one, other] = [signed(before, value), signed(after, value)];
  slice.data.forEach((each, i) => {
    if ((1 - share) * one[i] + share * other[i] < 0) slice.data[i] = value;
    else if (each === value) slice.data[i] = 0;
  });
}

/** How many voxels have each class. */
export function counted(data, classes) {
  const counts = new Array(classes).fill(0);
  for (let i = 0; i < data.length; i++) counts[data[i]]++;
  return counts;
}
