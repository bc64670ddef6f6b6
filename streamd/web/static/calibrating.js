// Metres: points of known distance are clicked, and what the line through them says of each is shown. Who may control saves.

/** @import { Calibration, Fitted } from './types.js' */
/** @import { Point } from './easel.js' */

import { asApiError, ask, ofStream, readJson } from './api.js';
import { $, cloneTemplate, fixed, isNumber, part, write } from './dom.js';
import { Easel } from './easel.js';
import { confirmed } from './recordings.js';

const TIMEOUT_MS = 20_000; // a stream on demand wakes up, then some frames are read

/** @typedef {{point: Point, metres: string, fitted: string}} Mark */

/** @type {Mark[]} */
let marks = [];
let stream = '';
/** @type {Easel | null} */
let easel = null;

const dialog = () => $('calibrate', HTMLDialogElement);
const note = () => $('calibrate-note');

export function wireCalibrating() {
  easel = new Easel(part(dialog(), '.easel'), {
    add(point) {
      marks.push({ point, metres: '', fitted: '' });
      draw();
      part($('calibrate-points'), 'li:last-child input').focus();
    },
    move(index, point) {
      const mark = marks[index];
      if (!mark) return;
      Object.assign(mark, { point, fitted: '' });
      draw();
    },
    removeLast() {
      marks.pop();
      draw();
    },
  });
  $('calibrate-save').onclick = () => void save();
  $('calibrate-reset').onclick = () => void reset();
  dialog().addEventListener('close', () => { easel?.clear(); });
}

/** @param {string} name */
export async function showCalibrating(name) {
  stream = name;
  marks = [];
  write(note(), '');
  draw();
  dialog().showModal();
  try {
    const [picture, found] = await Promise.all([
      ask(ofStream(name, '/snapshot', { view: 'source', format: 'jpg' }), { signal: AbortSignal.timeout(TIMEOUT_MS) }),
      ask(ofStream(name, '/calibration')),
    ]);
    easel?.show(await picture.blob());
    take(/** @type {Calibration} */ (await readJson(found)));
  } catch (thrown) {
    write(note(), asApiError(thrown).message);
  }
}

/** @param {Calibration} found */
function take(found) {
  marks = found.points.map(({ x, y, metres, fitted }) => ({ point: [x, y], metres: String(metres), fitted: distance(fitted) }));
  const [worst] = [...found.points].sort((a, b) => unsure(b) - unsure(a));
  const sure = worst ? ` It is least sure at ${fixed(worst.metres, 1)} m: ${plusMinus(worst.fitted)}, in 95 of 100 cases.` : '';
  const few = found.points.length < 4 ? ' More points tell better how sure it is.' : '';
  if (found.calibrated) write(note(), `${found.reason ? `Not in use: ${found.reason}.` : 'In use.'}${sure}${few}`);
  else write(note(), found.reason ? `Not calibrated: ${found.reason}.` : '');
  draw();
}

/**
 * As a share of the distance.
 * @param {Calibration['points'][number]} point
 */
const unsure = ({ metres, fitted }) => (fitted.uncertainty_metres ?? Infinity) / metres;
/** @param {Fitted} fitted */
const plusMinus = ({ uncertainty_metres: plus }) => (isNumber(plus) ? `± ${fixed(plus, 2)} m` : 'any distance is possible');

/**
 * "2.04 ± 0.06 m"; empty where it is not known.
 * @param {Fitted | null | undefined} fitted
 */
export function distance(fitted) {
  if (!isNumber(fitted?.metres)) return '';
  const { metres, uncertainty_metres: plus } = fitted;
  const digits = metres < 10 ? 2 : 1;
  return isNumber(plus) ? `${fixed(metres, digits)} ± ${fixed(plus, digits)} m` : `${fixed(metres, digits)} m`;
}

function draw() {
  easel?.draw([], marks.map(({ point }, index) => ({ point, label: String(index + 1) })));
  const list = $('calibrate-points');
  while (list.children.length > marks.length) list.lastElementChild?.remove();
  while (list.children.length < marks.length) list.append(line(list.children.length));
  marks.forEach(({ metres, fitted }, index) => {
    const item = /** @type {HTMLElement} */ (list.children[index]);
    const input = part(item, 'input', HTMLInputElement);
    if (input.value !== metres) input.value = metres;
    write(part(item, 'small'), fitted && `fits: ${fitted}`);
  });
  $('calibrate-empty').hidden = marks.length > 0;
  $('calibrate-save', HTMLButtonElement).disabled = marks.length < 2;
}

/** @param {number} index */
function line(index) {
  const item = cloneTemplate('calibrate-point');
  const input = part(item, 'input', HTMLInputElement);
  const button = part(item, 'button');
  write(part(item, 'b'), String(index + 1));
  input.ariaLabel = `Metres to point ${index + 1}`;
  button.ariaLabel = `Remove point ${index + 1}`;
  input.oninput = () => {
    const mark = marks[index];
    if (mark) Object.assign(mark, { metres: input.value, fitted: '' });
    write(part(item, 'small'), '');
  };
  input.onkeydown = (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    if (marks.length < 2) easel?.root.focus();
    else void save();
  };
  button.onclick = () => {
    marks.splice(index, 1);
    draw();
    (easel?.root ?? item).focus();
  };
  return item;
}

async function save() {
  const points = marks.map(({ point: [x, y], metres }) => ({ x, y, metres: Number(metres.replace(',', '.')) }));
  const bad = points.findIndex(({ metres }) => !(metres > 0));
  if (bad >= 0) {
    write(note(), `Point ${bad + 1} needs its distance from the camera in metres.`);
    part($('calibrate-points'), `li:nth-child(${bad + 1}) input`).focus();
    return;
  }
  await send('Reading some frames …', { method: 'PUT', body: JSON.stringify({ points }), headers: { 'Content-Type': 'application/json' } });
}

async function reset() {
  if (!(await confirmed(`Delete the calibration of ${stream}? It will know no metres any more.`))) return;
  await send('', { method: 'DELETE' });
}

/**
 * @param {string} meanwhile
 * @param {RequestInit} request
 */
async function send(meanwhile, request) {
  write(note(), meanwhile);
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    take(/** @type {Calibration} */ (await readJson(await ask(ofStream(stream, '/calibration'), { ...request, signal }))));
  } catch (thrown) {
    write(note(), `Not saved: ${asApiError(thrown).message}`);
  }
}
