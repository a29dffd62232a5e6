// What the editor asks of the server: an image, a mask to start from, and to keep a mask as a new version.

import { Volume } from "./volume.js";

const TYPES = { uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array };

/** about: config, note, site and image, as the server knows them. */
export class Wire {
  constructor({ config, note, site, image }) {
    this.about = { config, note, site, image };
  }

  async #got(path, more) {
    const answer = await fetch(`${path}?${new URLSearchParams({ ...this.about, ...more })}`);
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return { bytes: await answer.arrayBuffer(), header: (name) => answer.headers.get(name) ?? "" };
  }

  /** The image: a volume with `channels` values for each voxel (one of its channels, or three colours), its shape, the
   *  millimetres along each axis of the volume (1 if unknown), and how many channels there are to choose from. */
  async image(channel = 0) {
    const { bytes, header } = await this.#got("/correct/pixels", { channel });
    const numbers = (name) => header(name).split(",").filter(Boolean).map(Number);
    const [shape, known] = [numbers("x-shape"), numbers("x-spacing")];
    const spacing = known.length === shape.length ? known : shape.map(() => 1);
    return {
      volume: new Volume(new TYPES[header("x-type")](bytes), shape),
      channels: Number(header("x-channels")),
      spacing: shape.length === 2 ? [1, ...spacing] : spacing,
      files: Number(header("x-files")),
      shape,
    };
  }

  /** A mask: the newest version, the stored or the predicted one; and what it is called, for `save`. */
  async mask(source, shape) {
    const { bytes, header } = await this.#got("/correct/mask", { source });
    return { mask: new Volume(new Uint8Array(bytes), shape), called: header("x-source") };
  }

  /** A token for a form; asking for it also tells the server that somebody is here. */
  async token() {
    const answer = await fetch("/correct/token");
    if (!answer.ok) throw new Error(`${answer.status}`);
    return (await answer.json()).token;
  }

  /** Keep a mask; returns { version, path }, or { error, advice }. source: what the mask that was changed is called. */
  async save(data, source, by) {
    const form = new FormData();
    for (const [key, value] of Object.entries({ ...this.about, source, by })) form.append(key, value);
    form.append("mask", await packed(data), "mask.gz");
    const headers = { "x-relay-token": await this.token() }; // a new one: the page may have been locked meanwhile
    return (await fetch("/correct/save", { method: "POST", body: form, headers })).json();
  }
}

async function packed(data) {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(stream).blob();
}
