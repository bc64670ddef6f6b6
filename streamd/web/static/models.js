// The list of models: which one runs, what they cost here, and those that can be fetched. Who may control chooses.

/** @import { KnownModel, Models } from './types.js' */

import { asApiError, ask, at, readJson } from './api.js';
import { $, cloneTemplate, fixed, isNumber, joined, part, write } from './dom.js';
import { formatSize } from './recordings.js';

const AGAIN_MS = 1000;
let mayChange = false;
/** @type {number | undefined} */
let timer;
/** @type {string | null} */
let asked = null; // what was asked for last, until it runs or fails

const dialog = () => $('models', HTMLDialogElement);

export function wireModels() {
  dialog().addEventListener('close', () => { clearTimeout(timer); });
}

/** @param {boolean} control whether this visitor may change anything */
export async function showModels(control) {
  mayChange = control;
  write($('models-note'), '');
  $('model-list').replaceChildren();
  dialog().showModal();
  await refresh();
}

async function refresh() {
  clearTimeout(timer);
  try {
    show(/** @type {Models} */ (await readJson(await ask(at('api/v1/models')))));
  } catch (thrown) {
    write($('models-note'), asApiError(thrown).message);
  }
  clearTimeout(timer);
  if (dialog().open) timer = setTimeout(() => void refresh(), AGAIN_MS);
}

/** @param {Models} answer */
function show({ models, model }) {
  for (const known of models) draw(lineOf(known.name), known);
  const wanted = models.find(({ wanted }) => wanted);
  if (wanted && !wanted.running) write($('models-note'), model.message ?? `Changing to ${wanted.title} …`);
  else if (model.message) write($('models-note'), model.message);
  else if (asked) write($('models-note'), `${wanted?.title ?? asked} runs.`);
  if (!wanted || wanted.running) asked = null;
}

/**
 * The line of a model, made when it is new: it keeps the focus over changes.
 * @param {string} name
 */
function lineOf(name) {
  const list = $('model-list');
  const found = [...list.children].find((line) => line instanceof HTMLElement && line.dataset.model === name);
  if (found instanceof HTMLElement) return found;
  const line = cloneTemplate('known-model');
  line.dataset.model = name;
  part(line, '.use').onclick = () => void act('Changing …', name, 'api/v1/model', 'PUT', JSON.stringify({ name }));
  part(line, '.fetch').onclick = () => void act('', name, `api/v1/models/${encodeURIComponent(name)}/fetch`, 'POST');
  list.append(line);
  return line;
}

/**
 * @param {HTMLElement} line
 * @param {KnownModel} known
 */
function draw(line, known) {
  const { title, running, wanted, installed, fetch } = known;
  write(part(line, 'b'), title);
  write(part(line, 'small'), modelDetail(known));
  line.ariaCurrent = running ? 'true' : null;
  const use = part(line, '.use', HTMLButtonElement);
  const get = part(line, '.fetch', HTMLButtonElement);
  const bar = part(line, 'progress', HTMLProgressElement);
  write(use, running ? 'In use' : wanted ? 'Starting …' : 'Use');
  use.ariaLabel = `${use.textContent}: ${title}`;
  use.ariaDisabled = String(running || wanted); // not disabled: it would lose the focus
  use.hidden = !(running || (mayChange && installed));
  get.ariaLabel = `Fetch ${title}`;
  get.hidden = !mayChange || !known.can_fetch || Boolean(fetch?.active && !fetch.error);
  bar.hidden = !fetch?.active || fetch.error !== null;
  bar.ariaLabel = `Fetching ${title}`;
  if (fetch?.total_bytes) {
    bar.max = fetch.total_bytes;
    bar.value = fetch.done_bytes;
  } else {
    bar.removeAttribute('value');
  }
}

/**
 * What is known of it, in one line.
 * @param {KnownModel} known
 */
export function modelDetail(known) {
  const { licence, measured, coarse, installed, built_in: builtIn, official, fetch } = known;
  const ms = measured?.ms[measured.chosen];
  const bytes = known.size_bytes ?? known.download_bytes;
  return joined(
    ' · ',
    licence,
    isNumber(bytes) && formatSize(bytes),
    isNumber(ms) ? `${fixed(ms, 1)} ms here` : installed && 'not measured here yet',
    coarse && 'coarse',
    builtIn && 'built in',
    official === false && 'not the official file',
    fetchDetail(fetch),
    known.can_fetch && !fetch && known.notice,
    !installed && !known.can_fetch && !fetch && known.note,
  );
}

/** @param {KnownModel['fetch']} fetch */
function fetchDetail(fetch) {
  if (!fetch) return '';
  if (fetch.error) return `could not be fetched: ${fetch.error}`;
  const done = formatSize(fetch.done_bytes);
  return fetch.total_bytes ? `${done} of ${formatSize(fetch.total_bytes)}` : done;
}

/**
 * @param {string} note
 * @param {string} name
 * @param {string} path
 * @param {string} method
 * @param {string} [body]
 */
async function act(note, name, path, method, body) {
  const use = part(lineOf(name), '.use');
  if (method === 'PUT' && use.ariaDisabled === 'true') return;
  write($('models-note'), note);
  if (method === 'PUT') asked = name;
  try {
    const headers = { 'Content-Type': 'application/json' };
    await ask(at(path), { method, ...(body && { body, headers }), signal: AbortSignal.timeout(15_000) });
  } catch (thrown) {
    asked = null;
    write($('models-note'), asApiError(thrown).message);
    return;
  }
  await refresh();
}
