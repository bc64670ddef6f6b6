// Arrays of an npz file: a zip (APPNOTE 6.3) of npy files (NumPy's format 1.0), as the server writes it.

const END_OF_DIRECTORY = 0x06054b50;
const ENTRY = 0x02014b50;
const END_BYTES = 22;
const STORED = 0;
const DEFLATED = 8;

/** @typedef {{method: number, size: number, at: number}} Entry of the zip: packed bytes, and where its local header is */
/** @typedef {{shape: number[], values: Float32Array<ArrayBuffer>}} FloatArray */

export class Npz {
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #view;

  /** @param {ArrayBuffer} buffer Raises RangeError or TypeError for what is no npz. */
  constructor(buffer) {
    this.#view = new DataView(buffer);
    const end = buffer.byteLength - END_BYTES;
    if (end < 0 || this.#view.getUint32(end, true) !== END_OF_DIRECTORY) throw new TypeError('The answer is no npz file.');
    let at = this.#view.getUint32(end + 16, true);
    for (let left = this.#view.getUint16(end + 10, true); left > 0; left--) at = this.#note(at);
  }

  /** @param {number} at Gives where the next entry of the directory is. */
  #note(at) {
    const view = this.#view;
    if (view.getUint32(at, true) !== ENTRY) throw new TypeError('The answer is no npz file.');
    const nameBytes = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, nameBytes));
    const entry = { method: view.getUint16(at + 10, true), size: view.getUint32(at + 20, true), at: view.getUint32(at + 42, true) };
    this.#entries.set(name.replace(/\.npy$/, ''), entry);
    return at + 46 + nameBytes + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }

  /**
   * An array of float32 in C order. Raises TypeError for another.
   * @param {string} name
   * @returns {Promise<FloatArray>}
   */
  async floats(name) {
    const { descr, shape, body } = await this.#npy(name);
    if (descr !== '<f4') throw new TypeError(`${name} holds ${descr}, not float32.`);
    return { shape, values: new Float32Array(body) };
  }

  /**
   * A single string.
   * @param {string} name
   */
  async text(name) {
    const { descr, body } = await this.#npy(name);
    if (!descr.startsWith('<U')) throw new TypeError(`${name} is no text.`);
    return String.fromCodePoint(...new Uint32Array(body)).replace(/\0+$/, '');
  }

  /** @param {string} name */
  async #npy(name) {
    const file = await this.#unpacked(name);
    const headerBytes = new DataView(file).getUint16(8, true);
    const header = new TextDecoder().decode(new Uint8Array(file, 10, headerBytes));
    const [, descr = ''] = /'descr': '([^']*)'/.exec(header) ?? [];
    const [, sizes = ''] = /'shape': \(([^)]*)\)/.exec(header) ?? [];
    if (/'fortran_order': True/.test(header)) throw new TypeError(`${name} is stored by columns.`);
    const shape = sizes.split(',').filter((size) => size.trim()).map(Number);
    return { descr, shape, body: file.slice(10 + headerBytes) };
  }

  /** @param {string} name */
  async #unpacked(name) {
    const entry = this.#entries.get(name);
    if (!entry) throw new TypeError(`The answer has no ${name}.`);
    const view = this.#view;
    const start = entry.at + 30 + view.getUint16(entry.at + 26, true) + view.getUint16(entry.at + 28, true);
    const packed = new Uint8Array(/** @type {ArrayBuffer} */ (view.buffer), start, entry.size);
    if (entry.method === STORED) return packed.slice().buffer;
    if (entry.method !== DEFLATED) throw new TypeError(`${name} is packed in an unknown way.`);
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw'))).arrayBuffer();
  }
}
