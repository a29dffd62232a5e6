// The planes of an image and its masks: asked of the server one by one, the last few kept.

const KEPT = 160; // planes in memory
const AHEAD = 3; // planes that are asked for before they are seen

export async function answered(address) {
  const answer = await fetch(address);
  if (answer.ok) return answer;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  throw new Error(page.querySelector(".error")?.innerText.trim() || page.body.textContent.trim());
}

export class Planes {
  /** source: the address that answers. view: its axis and channel are those asked for. */
  constructor(source, view) {
    Object.assign(this, { source, view, kept: new Map() });
  }

  /** The bytes of a plane of a mask, or of the image. */
  get(mask, at) {
    const asked = new URLSearchParams({ axis: this.view.axis, at, channel: this.view.channel });
    if (mask) asked.set("mask", mask);
    const address = `${this.source}&${asked}`;
    const found = this.kept.get(address) ?? answered(address).then((answer) => answer.arrayBuffer());
    this.kept.delete(address); // so that the last used is the last in order
    this.kept.set(address, found);
    found.catch(() => this.kept.delete(address));
    while (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return found;
  }

  /** Ask for the planes around the one that is shown. */
  ahead(names, count) {
    for (let away = 1; away <= AHEAD; away++) {
      for (const at of [this.view.at + away, this.view.at - away]) {
        if (at >= 0 && at < count) names.forEach((name) => this.get(name, at).catch(() => {})); // shown when it is drawn
      }
    }
  }
}
