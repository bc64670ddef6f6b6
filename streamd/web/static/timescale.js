// The arithmetic of a line of time: what of a day is shown, where on it a time is, where the marks go. All in ms.

/** @import { TimeSpan } from './types.js' */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const STEPS = [SECOND, 5 * SECOND, 15 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR];
const SHORTEST = 20 * SECOND;
const LABEL_PX = 74; // between two marks, at least

/**
 * The local day of a time: a day of summer time has 23 or 25 hours.
 * @param {number} ms
 * @returns {TimeSpan}
 */
export function dayOf(ms) {
  const date = new Date(ms);
  const [year, month, day] = [date.getFullYear(), date.getMonth(), date.getDate()];
  return [new Date(year, month, day).getTime(), new Date(year, month, day + 1).getTime()];
}

/** @param {number} ms as <input type="date"> has it */
export function dateText(ms) {
  const date = new Date(ms);
  const parts = [date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, '0'));
  return [String(date.getFullYear()).padStart(4, '0'), ...parts].join('-');
}

/** @param {number} ms */
export function clock(ms, withSeconds = true) {
  const text = new Date(ms).toTimeString();
  return text.slice(0, withSeconds ? 8 : 5);
}

/**
 * @param {number} value
 * @param {TimeSpan} span
 */
export const clamped = (value, [from, to]) => Math.min(Math.max(value, from), to);

/**
 * What is shown of `whole` after zooming by `factor` about a time, which stays where it is.
 * @param {TimeSpan} shown
 * @param {TimeSpan} whole
 * @param {number} factor
 * @param {number} about
 * @returns {TimeSpan}
 */
export function zoomed([from, to], whole, factor, about) {
  const length = Math.min(Math.max((to - from) * factor, SHORTEST), whole[1] - whole[0]);
  return moved([about - ((about - from) / (to - from)) * length, about - ((about - from) / (to - from)) * length + length], whole, 0);
}

/**
 * @param {TimeSpan} shown
 * @param {TimeSpan} whole that it must not leave
 * @param {number} by
 * @returns {TimeSpan}
 */
export function moved([from, to], whole, by) {
  const first = clamped(from + by, [whole[0], whole[1] - (to - from)]);
  return [first, first + (to - from)];
}

/**
 * Where the marks go, and whether they need seconds.
 * @param {TimeSpan} shown
 * @param {number} width px
 */
export function marks([from, to], width) {
  const step = STEPS.find((each) => (each / (to - from)) * width >= LABEL_PX) ?? 12 * HOUR;
  const [midnight] = dayOf(from);
  const first = midnight + Math.ceil((from - midnight) / step) * step;
  const count = Math.max(0, Math.floor((to - first) / step) + 1);
  return { times: Array.from({ length: count }, (_, index) => first + index * step), withSeconds: step < MINUTE };
}

/**
 * The first moment at `ms` or later within a span; null when there is none.
 * @param {TimeSpan[]} spans sorted
 * @param {number} ms
 */
export function nextRecorded(spans, ms) {
  const span = spans.find(([, to]) => to > ms);
  return span ? Math.max(span[0], ms) : null;
}

/**
 * @param {TimeSpan[]} spans of several tracks
 * @returns {TimeSpan[]} sorted; where any has something
 */
export function union(spans) {
  /** @type {TimeSpan[]} */
  const found = [];
  for (const [from, to] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}
