// One picture or several, and their depth. What is shown is coloured here, from values that were asked for once.

/** @import { Look, Mode } from './photo-stage.js' */
/** @import { DepthMap } from './photo-tone.js' */

import { $, cloneTemplate, context2d, has, part, saveAs, typedKeys, write } from './dom.js';
import { PALETTES, gradient, paletteNamed, storePalette, storedPalette } from './palettes.js';
import { canPass, depthOf, explained, fileOf, installedModels, sourceOf } from './photo-ask.js';
import { wireIntake } from './photo-files.js';
import { Stage } from './photo-stage.js';

/** @typedef {'waiting' | 'working' | 'ready' | 'failed'} State */
/**
 * A picture, and its depth by each model that was asked for.
 * @typedef {{file: File, state: State, note: string, maps: Map<string, DepthMap>, picture: HTMLCanvasElement | null, line: HTMLElement, abort: AbortController, again: boolean}} Item
 */

const HELP = {
  wipe: 'Drag over the picture, or use the slider.',
  side: '',
  overlay: '',
  blur: 'Click what shall be sharp, or move to it by arrow keys and press Enter.',
  tilt: 'Move over the picture, tilt the phone, or use the arrow keys.',
};
const SLIDERS = /** @type {const} */ (['wipe', 'alpha', 'aperture', 'strength', 'focus', 'far', 'near']);

/** @type {Item[]} */
const items = [];
/** @type {Item | null} */
let current = null;
let working = false;
/** @type {Look} */
let look = {
  mode: 'wipe', palette: storedPalette(), log: false, far: 0, near: 1,
  wipe: 0.5, alpha: 0.5, aperture: 0.4, strength: 0.4, focus: 0.8,
};
const stage = new Stage(change, tell);
const model = () => $('model', HTMLSelectElement).value;

// --- pictures come and go

/** @param {File[]} files */
function add(files) {
  write($('problem'), '');
  for (const file of files) {
    const line = cloneTemplate('thumb');
    /** @type {Item} */
    const item = { file, state: 'waiting', note: '', maps: new Map(), picture: null, line, abort: new AbortController(), again: true };
    write(part(line, 'b'), file.name);
    part(line, '.show').onclick = () => { choose(item); };
    part(line, '.remove').ariaLabel = `Remove ${file.name}`;
    part(line, '.remove').onclick = () => { remove(item); };
    items.push(item);
    $('strip').append(line);
  }
  const [first] = items.slice(-files.length);
  if (first && files.length) choose(first);
  void work();
}

/** @param {Item} item */
function choose(item) {
  current = item;
  if (!item.maps.has(model()) && item.state !== 'working' && item.again) item.state = 'waiting';
  render();
  void work();
}

/** @param {Item} item */
function remove(item) {
  item.abort.abort();
  const at = items.indexOf(item);
  items.splice(at, 1);
  item.line.remove();
  if (current === item) current = items[at] ?? items.at(-1) ?? null;
  render();
  const next = current?.line.querySelector('.show');
  if (next instanceof HTMLElement) next.focus();
  else $('choose').focus();
}

/** One after the other, the one that is looked at first. */
async function work() {
  if (working) return;
  working = true;
  try {
    for (let item = nextItem(); item; item = nextItem()) await make(item);
  } finally {
    working = false;
  }
}

const nextItem = () => (current?.state === 'waiting' ? current : items.find(({ state }) => state === 'waiting'));

/** @param {Item} item */
async function make(item) {
  await listed;
  const asked = model();
  const note = (/** @type {string} */ text) => {
    item.note = text;
    render();
  };
  item.state = 'working';
  try {
    const map = await depthOf(item.file, asked, item.abort.signal, note);
    item.picture ??= await upright(item, map);
    item.maps.set(asked, map);
    item.state = item.maps.has(model()) || item !== current ? 'ready' : 'waiting';
    note('');
  } catch (thrown) {
    if (item.abort.signal.aborted) return;
    item.state = 'failed';
    item.again = canPass(thrown);
    note(explained(thrown));
  }
}

/**
 * The picture at the size of its depth. What this browser cannot read, or turns another way, the server shows.
 * @param {Item} item
 * @param {DepthMap} map
 */
async function upright({ file, abort }, { width, height }) {
  let bitmap = await createImageBitmap(file).catch(() => null);
  const fits = bitmap && Math.abs(bitmap.width * height - bitmap.height * width) <= Math.max(bitmap.width, bitmap.height);
  if (!bitmap || !fits) bitmap = await sourceOf(file, abort.signal);
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = context2d(canvas);
  context.fillStyle = '#fff'; // behind what is transparent, as the network sees it
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return canvas;
}

// --- drawing

/** @param {Partial<Look>} changed */
function change(changed) {
  look = { ...look, ...changed };
  if (look.far > look.near - 0.01) look = 'far' in changed ? { ...look, far: look.near - 0.01 } : { ...look, near: look.far + 0.01 };
  render();
}

function render() {
  const map = current?.maps.get(model()) ?? null;
  document.body.toggleAttribute('data-empty', !items.length);
  for (const item of items) renderLine(item);
  for (const name of SLIDERS) $(name, HTMLInputElement).value = String(Math.round(look[name] * 100));
  for (const button of document.querySelectorAll('#modes button')) {
    if (button instanceof HTMLElement) button.ariaPressed = String(button.dataset.mode === look.mode);
  }
  for (const button of document.querySelectorAll('#downloads button')) button.toggleAttribute('disabled', !map);
  write($('mode-help'), HELP[look.mode]);
  $('ramp').style.background = gradient('to right', look.palette);
  write($('waiting'), map || !current ? '' : current.state === 'failed' ? `${current.file.name} ${current.note}` : `${current.note || 'Waiting'} …`);
  const done = items.filter(({ state }) => state === 'ready' || state === 'failed').length;
  const bar = $('progress', HTMLProgressElement);
  bar.hidden = items.length < 2 || done === items.length;
  [bar.max, bar.value] = [Math.max(items.length, 1), done];
  const failed = items.filter(({ state }) => state === 'failed').length;
  write($('count'), items.length > 1 ? `${done} of ${items.length} pictures${failed ? `, ${failed} failed` : ''}` : '');
  stage.show(map ? (current?.picture ?? null) : null, map, look);
}

/** @param {Item} item */
function renderLine(item) {
  const { line, state, note, picture } = item;
  line.dataset.state = state;
  part(line, '.show').ariaCurrent = String(item === current);
  const text = state === 'ready' ? '' : note || state;
  write(part(line, 'small'), text);
  part(line, '.show').title = text;
  const thumb = part(line, 'canvas', HTMLCanvasElement);
  if (!picture || thumb.dataset.drawn) return;
  thumb.dataset.drawn = 'true';
  const scale = Math.max(thumb.width / picture.width, thumb.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context2d(thumb).drawImage(picture, (thumb.width - width) / 2, (thumb.height - height) / 2, width, height);
}

/** @param {string} problem */
function tell(problem) {
  write($('problem'), problem);
}

// --- saving

/** @param {string} format */
async function save(format) {
  if (!current) return;
  const { file, abort } = current;
  const stem = file.name.replace(/\.[^.]*$/, '') || 'picture';
  write($('saving'), `Making ${format} …`);
  try {
    const seen = format === 'jpg' || format === 'png';
    const query = { format, ...(model() && { model: model() }) };
    const blob = await (seen ? stage.asSeen(format === 'jpg' ? 'image/jpeg' : 'image/png') : fileOf(file, query, abort.signal));
    saveAs(blob, `${stem}-${seen ? look.mode : 'depth'}.${format === 'png16' ? 'png' : format}`);
    write($('saving'), '');
  } catch (thrown) {
    write($('saving'), `${file.name} as ${format} ${explained(thrown)}`);
  }
}

// --- wiring

async function listModels() {
  try {
    const models = await installedModels();
    $('model').replaceChildren(...models.map(({ name, title }) => new Option(title, name)));
  } catch (thrown) {
    tell(`The list of models ${explained(thrown)}.`);
  }
}

function wire() {
  wireIntake(add, tell);
  for (const name of SLIDERS) {
    const input = $(name, HTMLInputElement);
    input.addEventListener('input', () => { change({ [name]: Number(input.value) / 100 }); });
  }
  for (const button of document.querySelectorAll('#modes button')) {
    if (button instanceof HTMLElement) button.onclick = () => { setMode(button.dataset.mode); };
  }
  for (const button of document.querySelectorAll('#downloads button')) {
    if (button instanceof HTMLElement) button.onclick = () => void save(button.dataset.format ?? '');
  }
  const palette = $('palette', HTMLSelectElement);
  palette.replaceChildren(...typedKeys(PALETTES).map((name) => new Option(PALETTES[name], name, false, name === look.palette)));
  palette.onchange = () => {
    change({ palette: paletteNamed(palette.value) });
    storePalette(look.palette);
  };
  const curve = $('curve', HTMLSelectElement);
  curve.onchange = () => { change({ log: curve.value === 'log' }); };
  $('model').onchange = () => {
    if (current) choose(current);
  };
}

/** @param {string | undefined} mode */
function setMode(mode) {
  if (!has(HELP, mode)) return;
  if (mode === 'tilt') void allowTilting();
  change({ mode: /** @type {Mode} */ (mode) });
}

/** Phones of one maker ask the user first. */
async function allowTilting() {
  const events = /** @type {{requestPermission?: () => Promise<string>}} */ (/** @type {unknown} */ (globalThis.DeviceOrientationEvent));
  await events.requestPermission?.().catch(() => 'denied');
}

const listed = listModels();
wire();
render();
