// Learning curves: an SVG for each leg, drawn anew every few seconds, with the numbers for those who can't see it.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 200, 44, 24];

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function path(points, x, y) {
  return points.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)},${y(value).toFixed(1)}`).join("");
}

function drawing(leg) {
  const lines = [...leg.loss.map(({ points }) => points), leg.score].filter((points) => points.length);
  const all = lines.flat();
  const [last, high] = [Math.max(1, ...all.map(([step]) => step)), Math.max(1, ...all.map(([, value]) => value))];
  const x = (step) => LEFT + ((WIDTH - LEFT - 8) * step) / last;
  const y = (value) => 8 + (HEIGHT - BOTTOM - 8) * (1 - Math.max(0, value) / high);
  const ends = lines.map((points) => points.at(-1)[1].toPrecision(3));
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "curves" });
  svg.append(element("title", {}, `${leg.leg}: at step ${last}: ${ends.join(", ")}`));
  for (const value of [0, high / 2, high]) {
    svg.append(element("line", { x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(element("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(2)));
  }
  svg.append(element("text", { x: WIDTH - 8, y: HEIGHT - 6, "text-anchor": "end" }, `step ${last}`));
  leg.loss.forEach(({ points }) => svg.append(element("path", { d: path(points, x, y), class: "loss" })));
  svg.append(element("path", { d: path(leg.score, x, y), class: "score" }));
  const caption = document.createElement("figcaption");
  caption.textContent = `${leg.leg}: loss (thin), validation score (thick)`;
  return [svg, caption];
}

async function draw() {
  for (const figure of document.querySelectorAll("[data-curves]")) {
    const answer = await fetch(figure.dataset.curves, { headers: { "x-relay-quiet": "1" } });
    if (!answer.ok) continue;
    const legs = await answer.json();
    figure.replaceChildren(...(legs.length ? drawing(legs.at(-1)) : []));
  }
  setTimeout(draw, 5000);
}

draw();
