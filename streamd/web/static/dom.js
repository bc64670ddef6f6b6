// Small helpers that every part of the page uses.

export const $ = (id) => document.getElementById(id);
export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
/** With so many decimals; with one significant digit where that would show 0, as of a camera's 0.2 fps. */
export const fixed = (value, digits = 0) => {
  if (!isNumber(value)) return '–';
  return value !== 0 && Number(value.toFixed(digits)) === 0 ? value.toPrecision(1) : value.toFixed(digits);
};
export const whole = (value) => (isNumber(value) ? value.toLocaleString('en-US') : '–');
export const joined = (separator, ...parts) => parts.filter(Boolean).join(separator);

/** Now, ms since 1970 by this machine's clock, finer than Date.now(). */
export const now = () => performance.timeOrigin + performance.now();

/** The item `by` places after `item`, round and round. */
export const next = (items, item, by = 1) => items[(items.indexOf(item) + by + items.length) % items.length];

/** Set text only when it differs, so that live regions speak once. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The first element of a template, copied. */
export const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);

let toastTimer;
export function toast(text) {
  write($('toast'), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => write($('toast'), ''), 5000);
}

export function saveAs(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
