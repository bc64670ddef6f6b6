// The list of recordings: page by page, the newest first. Who may control can delete them.

import { ask, at } from './api.js';
import { $, copyOf, isNumber, joined, write } from './dom.js';

/**
 * @typedef {object} Recording
 * @property {string} path
 * @property {string} stream
 * @property {string} view
 * @property {string} started RFC 3339
 * @property {number} size_bytes
 * @property {boolean} complete false while it is being recorded
 * @property {boolean} cut_short
 */

const PAGE = 100;
let mayDelete = false;
/** Where the next page begins; null at the end. @type {string | null} */
let next = null;
/** Counts how often the list was opened: answers to an earlier time are thrown away. */
let opened = 0;

export function wireRecordings() {
  $('recordings-more').onclick = loadMore;
}

/** @param {boolean} control whether this visitor may delete */
export async function showRecordings(control) {
  mayDelete = control;
  next = null;
  opened += 1;
  $('recording-list').replaceChildren();
  $('recordings-more').hidden = true;
  $('recordings').showModal();
  await load();
}

/** The focus goes on to the first of the new ones: the button may have gone. */
async function loadMore() {
  const list = $('recording-list');
  const before = list.children.length;
  await load();
  list.children[before]?.querySelector('a').focus();
}

async function load() {
  const list = $('recording-list');
  const time = opened;
  const more = $('recordings-more');
  more.disabled = true;
  write($('recordings-note'), 'Loading …');
  try {
    const page = await (await ask(at('api/v1/recordings', { limit: PAGE, ...(next && { before: next }) }))).json();
    if (time !== opened) return;
    list.append(...page.recordings.map(item));
    next = page.next;
    more.hidden = next === null;
    noteCount();
  } catch (error) {
    if (time === opened) write($('recordings-note'), error.status === 404 ? 'This streamd does not list recordings.' : error.message);
  } finally {
    if (time === opened) more.disabled = false;
  }
}

function noteCount() {
  const count = $('recording-list').children.length;
  const shown = `The newest ${count} are shown.`;
  write($('recordings-note'), next ? shown : count ? '' : 'Nothing has been recorded yet.');
}

/** @param {Recording} recording */
function item(recording) {
  const { path, stream, view } = recording;
  const element = copyOf('recording');
  const [link, save] = element.querySelectorAll('a');
  const button = element.querySelector('button');
  link.href = save.href = addressOf(path);
  save.ariaLabel = `Download ${path}`;
  save.title = 'Download';
  button.ariaLabel = `Delete ${path}`;
  button.hidden = !mayDelete || recording.complete === false; // one that is being recorded cannot be deleted
  button.onclick = () => remove(recording, element);
  write(element.querySelector('b'), joined(', ', stream, view) || path);
  write(element.querySelector('small'), detailOf(recording));
  return element;
}

/** @param {string} path */
const addressOf = (path) => at(`recordings/${path.split('/').map(encodeURIComponent).join('/')}`);

/** @param {Recording} recording */
function detailOf({ started, size_bytes: bytes, complete, cut_short: cutShort }) {
  const when = Date.parse(started);
  return joined(
    ' · ',
    when && new Date(when).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }),
    isNumber(bytes) && sizeOf(bytes),
    complete === false && 'being recorded',
    cutShort && 'cut short',
  );
}

/** @param {number} bytes */
function sizeOf(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

// --- deleting

/**
 * @param {Recording} recording
 * @param {HTMLElement} element its line
 */
async function remove(recording, element) {
  const title = joined(', ', recording.stream, recording.view, detailOf(recording));
  if (!(await confirmed(`Delete this recording? ${title}. It cannot be brought back.`))) return;
  try {
    await ask(addressOf(recording.path), { method: 'DELETE' });
  } catch (error) {
    if (error.status !== 404) return write($('recordings-note'), `Not deleted: ${error.message}`); // 404: it has gone
  }
  const neighbour = element.nextElementSibling ?? element.previousElementSibling;
  element.remove();
  noteCount();
  (neighbour?.querySelector('button:not([hidden])') ?? $('recordings').querySelector('form button')).focus();
}

/** @param {string} text */
function confirmed(text) {
  const dialog = $('confirm');
  write($('confirm-text'), text);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
