// Small helpers that every part of the page uses.

/**
 * The element below `root` that `selector` finds, which is of this kind. Raises TypeError: the page is not ours.
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function part(root, selector, kind) {
  const found = root.querySelector(selector);
  if (!(found instanceof (kind ?? HTMLElement))) throw new TypeError(`there is no ${selector}`);
  return /** @type {T} */ (found);
}

/**
 * The element of the page with this id.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export const $ = (id, kind) => part(document, `#${id}`, kind);

/** @type {(value: unknown) => value is number} */
export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/**
 * With so many decimals; with one significant digit where that would show 0, as of a camera's 0.2 fps.
 * @param {unknown} value
 */
export const fixed = (value, digits = 0) => {
  if (!isNumber(value)) return '–';
  return value !== 0 && Number(value.toFixed(digits)) === 0 ? value.toPrecision(1) : value.toFixed(digits);
};

/** @param {unknown} value */
export const whole = (value) => (isNumber(value) ? value.toLocaleString('en-US') : '–');

/**
 * Those of the parts that are there.
 * @param {string} separator
 * @param {...(string | number | boolean | null | undefined)} parts
 */
export const joined = (separator, ...parts) => parts.filter(Boolean).join(separator);

/** Now, ms since 1970 by this machine's clock, finer than Date.now(). */
export const now = () => performance.timeOrigin + performance.now();

/**
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function context2d(canvas, settings) {
  const context = canvas.getContext('2d', settings);
  if (!context) throw new TypeError('This browser cannot draw.');
  return context;
}

/**
 * The item `by` places after `item`, round and round.
 * @template T
 * @param {readonly T[]} items not empty
 * @param {T} item
 */
export const next = (items, item, by = 1) => /** @type {T} */ (items.at((items.indexOf(item) + by) % items.length));

/**
 * The keys of an object whose type lists them all.
 * @template {object} T
 * @param {T} object
 */
export const typedKeys = (object) => /** @type {(keyof T)[]} */ (Object.keys(object));

/**
 * Whether `object` has this key of its own: `in` would find what every object inherits, such as "constructor".
 * @template {object} T
 * @param {T} object
 * @param {unknown} key
 * @returns {key is keyof T}
 */
export const has = (object, key) => typeof key === 'string' && Object.hasOwn(object, key);

/**
 * Set text only when it differs, so that live regions speak once.
 * @param {Element} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * The first element of a template, copied.
 * @param {string} id
 */
export function cloneTemplate(id) {
  const copy = $(id, HTMLTemplateElement).content.cloneNode(true);
  return part(/** @type {DocumentFragment} */ (copy), '*');
}

/** @type {number | undefined} */
let toastTimer;

/** @param {string} text */
export function toast(text) {
  write($('toast'), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { write($('toast'), ''); }, 5000);
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function saveAs(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => { URL.revokeObjectURL(link.href); }, 10_000);
}
