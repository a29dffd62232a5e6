// What the colours and lines of the viewer stand for.

/** about: what the server says of the image. panels: each with its `model`, or none. */
export function legend(root, about, panels) {
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
    ...names.map((name, place) => entry(colours.others[place], about.labels[name])),
  ];
  const several = classes.slice(1).map((name, k) => entry(palette[(k % 7) + 1], name));
  root.querySelector("#lines").textContent = linesSay(masks.includes("truth"), names.length, panels.length);
  root.querySelector(".legend").replaceChildren(...(classes.length > 2 && masks.length ? several : own));
}

// What lines and colour stand for: without a model's mask, colour is the truth.
function linesSay(truth, models, pictures) {
  if (!truth) return models ? "Lines and colour: the model." : "";
  if (!models) return "Lines and colour: the truth.";
  const rest = models < pictures ? " In the picture without a model, colour is the truth." : "";
  return `Thick lines: the truth. Thin lines and colour: the model.${rest}`;
}
