// Keys, wheel and mouse on a picture of the viewer.

/** acts: what they do: go(at), zoom(factor), reset(), setWindow(level, width), move(x, y); and about(), count(). */
export function listen(canvas, view, acts) {
  canvas.addEventListener("keydown", (event) => {
    const done = keys(view, acts)[event.key];
    if (!done || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    done();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      if (event.ctrlKey) acts.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
      else acts.go(view.at - Math.sign(event.deltaY));
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    if (event.shiftKey || acts.about().colour) return acts.move(event.movementX, event.movementY);
    const { low, most } = acts.about().scales[view.channel];
    const step = Math.max(most - low, 1e-9) / 600;
    const width = Math.max(step / 10, view.high - view.low + event.movementX * step);
    acts.setWindow((view.low + view.high) / 2 + event.movementY * step, width);
  });
}

function keys(view, { go, zoom, reset, count }) {
  return {
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
}
