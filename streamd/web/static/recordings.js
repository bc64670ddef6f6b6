// The dialog of recordings: a day on a line of time above, and the list of files, page by page, the newest first.
// Who may control can delete them.

/** @import { Recording } from './types.js' */

import { asApiError, ask, at, readJson } from './api.js';
import { $, cloneTemplate, isNumber, joined, part, write } from './dom.js';
import { closeRecorded, showRecorded, wireRecorded } from './recorded.js';
import { recordingUrl } from './reel.js';

const PAGE = 100;
let mayDelete = false;
/** @type {string | null} */
let next = null; // where the next page begins; null at the end
let opened = 0; // counts how often the list was opened: answers to an earlier time are thrown away

const more = () => $('recordings-more', HTMLButtonElement);

export function wireRecordings() {
  more().onclick = () => void loadMore();
  wireRecorded({ confirmed, changed: () => void reload() });
  $('recordings', HTMLDialogElement).addEventListener('close', closeRecorded);
}

/**
 * @param {boolean} control whether this visitor may delete
 * @param {string | null} stream the one that is shown
 */
export async function showRecordings(control, stream) {
  mayDelete = control;
  $('recordings', HTMLDialogElement).showModal();
  await Promise.all([reload(), showRecorded(stream, control)]);
}

async function reload() {
  next = null;
  opened += 1;
  $('recording-list').replaceChildren();
  more().hidden = true;
  await load();
}

/** The focus goes on to the first of the new ones: the button may have gone. */
async function loadMore() {
  const list = $('recording-list');
  const before = list.children.length;
  await load();
  list.children[before]?.querySelector('a')?.focus();
}

async function load() {
  const time = opened;
  more().disabled = true;
  write($('recordings-note'), 'Loading …');
  try {
    const url = at('api/v1/recordings', { limit: String(PAGE), ...(next && { before: next }) });
    const page = /** @type {{recordings: Recording[], next: string | null}} */ (await readJson(await ask(url)));
    if (time !== opened) return;
    $('recording-list').append(...page.recordings.map(item));
    next = page.next;
    more().hidden = next === null;
    noteCount();
  } catch (thrown) {
    const error = asApiError(thrown);
    const text = error.status === 404 ? 'This streamd does not list recordings.' : error.message;
    if (time === opened) write($('recordings-note'), text);
  } finally {
    if (time === opened) more().disabled = false;
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
  const element = cloneTemplate('recording');
  const save = part(element, '.save', HTMLAnchorElement);
  const button = part(element, '.delete', HTMLButtonElement);
  part(element, 'a', HTMLAnchorElement).href = save.href = recordingUrl(path);
  save.ariaLabel = `Download ${path}`;
  save.title = 'Download';
  button.ariaLabel = `Delete ${path}`;
  button.hidden = !mayDelete || recording.complete === false; // one that is being recorded cannot be deleted
  button.onclick = () => void remove(recording, element);
  write(part(element, 'b'), joined(', ', stream, view) || path);
  write(part(element, 'small'), recordingDetail(recording));
  return element;
}

/** @param {Recording} recording */
function recordingDetail({ started, size_bytes: bytes, complete, cut_short: cutShort }) {
  const when = Date.parse(started ?? '');
  return joined(
    ' · ',
    when && new Date(when).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }),
    isNumber(bytes) && formatSize(bytes),
    complete === false && 'being recorded',
    cutShort && 'cut short',
  );
}

/** @param {number} bytes */
export function formatSize(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

// --- deleting

/**
 * @param {Recording} recording
 * @param {HTMLElement} element its line
 */
async function remove(recording, element) {
  const title = joined(', ', recording.stream, recording.view, recordingDetail(recording));
  if (!(await confirmed(`Delete this recording? ${title}. It cannot be brought back.`))) return;
  try {
    await ask(recordingUrl(recording.path), { method: 'DELETE' });
  } catch (thrown) {
    const error = asApiError(thrown);
    if (error.status !== 404) { // 404: it has gone
      write($('recordings-note'), `Not deleted: ${error.message}`);
      return;
    }
  }
  const neighbour = element.nextElementSibling ?? element.previousElementSibling;
  element.remove();
  noteCount();
  const button = neighbour?.querySelector('button:not([hidden])');
  (button instanceof HTMLElement ? button : part($('recordings'), 'form button')).focus();
}

/**
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export function confirmed(text) {
  const dialog = $('confirm', HTMLDialogElement);
  write($('confirm-text'), text);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => { resolve(dialog.returnValue === 'yes'); }, { once: true });
  });
}
