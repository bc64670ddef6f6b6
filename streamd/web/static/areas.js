// Masks and zones, drawn on the picture. Who may control saves.

/** @import { Area, Stream, ZoneSettings } from './types.js' */

import { asApiError, ask, ofStream } from './api.js';
import { $, cloneTemplate, isNumber, part, write } from './dom.js';
import { Easel, inside } from './easel.js';

const TIMEOUT_MS = 20_000;

/** @type {Area[]} */
let areas = [];
let chosen = 0;
let stream = '';
let knowsZones = false;
/** @type {Easel | null} */
let easel = null;

const dialog = () => $('areas', HTMLDialogElement);
const note = () => $('areas-note');

export function wireAreas() {
  easel = new Easel(part(dialog(), '.easel'), {
    add(point) {
      if (!areas[chosen]) begin('mask');
      areas[chosen]?.points.push(point);
      draw();
    },
    move(index, point) {
      const points = areas[chosen]?.points;
      if (points) points[index] = point;
      draw();
    },
    removeLast() {
      areas[chosen]?.points.pop();
      draw();
    },
  });
  $('areas-mask').onclick = () => { begin('mask'); };
  $('areas-zone').onclick = () => { begin('zone'); };
  $('areas-save').onclick = () => void save();
  dialog().addEventListener('close', () => { easel?.clear(); });
}

/** @param {Stream} shown */
export async function showAreas(shown) {
  stream = shown.name;
  const settings = shown.wanted ?? shown.settings ?? {};
  knowsZones = Array.isArray(settings.zones);
  areas = areasOf(shown);
  chosen = 0;
  $('areas-zone').hidden = !knowsZones;
  write(note(), '');
  draw();
  dialog().showModal();
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const picture = await ask(ofStream(stream, '/snapshot', { view: 'source', format: 'jpg' }), { signal });
    easel?.show(await picture.blob());
  } catch (thrown) {
    write(note(), asApiError(thrown).message);
  }
}

/**
 * Of the settings, as shares: those in pixels are of the source's size.
 * @param {Stream} shown
 * @returns {Area[]}
 */
export function areasOf({ settings, wanted, width, height }) {
  const { masks = [], zones = [] } = wanted ?? settings ?? {};
  /** @param {[number, number][]} polygon */
  const shares = (polygon) => {
    const inPixels = polygon.some((point) => point.some((value) => value > 1));
    return polygon.map(([x, y]) => inside(inPixels ? [x / (width ?? 1), y / (height ?? 1)] : [x, y]));
  };
  return [
    ...masks.map((polygon) => ({ kind: /** @type {const} */ ('mask'), points: shares(polygon) })),
    ...zones.map(({ polygon, ...zone }) => ({ kind: /** @type {const} */ ('zone'), points: shares(polygon), zone })),
  ];
}

/**
 * What is sent, or what is wrong.
 * @param {Area[]} drawn
 * @param {boolean} withZones
 */
export function settingsOf(drawn, withZones) {
  const short = drawn.findIndex(({ points }) => points.length > 0 && points.length < 3);
  if (short >= 0) return { wrong: `Area ${short + 1} needs three points at least.` };
  const whole = drawn.filter(({ points }) => points.length);
  const zones = whole.filter(({ kind }) => kind === 'zone').map(({ points, zone = {} }) => ({ ...zone, polygon: points }));
  const nameless = zones.findIndex(({ name }) => !name?.trim());
  if (nameless >= 0) return { wrong: 'Each zone needs a name.' };
  const masks = whole.filter(({ kind }) => kind === 'mask').map(({ points }) => points);
  return { body: withZones ? { masks, zones } : { masks } };
}

/** @param {'mask' | 'zone'} kind */
function begin(kind) {
  const last = areas.at(-1);
  if (last && !last.points.length) areas.pop();
  const number = areas.filter((area) => area.kind === 'zone').length + 1;
  areas.push(kind === 'zone' ? { kind, points: [], zone: { name: `zone-${number}`, near: 0.7 } } : { kind, points: [] });
  chosen = areas.length - 1;
  draw();
  easel?.root.focus();
}

function draw() {
  const active = areas[chosen];
  easel?.draw(
    areas.map(({ points, kind }, index) => ({ points, kind, active: index === chosen })),
    (active?.points ?? []).map((point, index) => ({ point, label: String(index + 1) })),
  );
  $('area-list').replaceChildren(...areas.map(line));
  $('areas-empty').hidden = areas.length > 0;
}

/**
 * @param {Area} area
 * @param {number} index
 */
function line(area, index) {
  const item = cloneTemplate('area');
  const choose = part(item, '.choose-area', HTMLButtonElement);
  const what = area.kind === 'mask' ? 'Mask' : 'Zone';
  write(choose, `${what} ${index + 1}: ${area.points.length} points`);
  choose.ariaPressed = String(index === chosen);
  choose.onclick = () => {
    chosen = index;
    draw();
    easel?.root.focus();
  };
  const remove = part(item, '.delete');
  remove.ariaLabel = `Remove ${what.toLowerCase()} ${index + 1}`;
  remove.onclick = () => {
    areas.splice(index, 1);
    chosen = Math.max(0, Math.min(chosen, areas.length - 1));
    draw();
    $('areas-mask').focus();
  };
  wireZone(part(item, '.zone'), area);
  return item;
}

/**
 * @param {HTMLElement} form
 * @param {Area} area
 */
function wireZone(form, area) {
  const { zone } = area;
  form.hidden = !zone;
  if (!zone) return;
  const name = part(form, '.zone-name', HTMLInputElement);
  const nearness = part(form, '.zone-nearness', HTMLInputElement);
  const unit = part(form, '.zone-unit', HTMLSelectElement);
  const hold = part(form, '.zone-hold', HTMLInputElement);
  name.value = zone.name ?? '';
  unit.value = isNumber(zone.metres) ? 'metres' : 'near';
  nearness.value = String(zone.metres ?? zone.near ?? 0.7);
  hold.value = String(zone.hold_s ?? 1);
  form.oninput = () => {
    /** @type {ZoneSettings} */
    const typed = { ...zone, name: name.value.trim(), hold_s: Number(hold.value) };
    delete typed.near;
    delete typed.metres;
    area.zone = { ...typed, [unit.value]: Number(nearness.value) };
  };
}

async function save() {
  const { wrong, body } = settingsOf(areas, knowsZones);
  if (!body) {
    write(note(), wrong);
    return;
  }
  write(note(), 'Saving …');
  try {
    const headers = { 'Content-Type': 'application/json' };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    await ask(ofStream(stream, ''), { method: 'PATCH', body: JSON.stringify(body), headers, signal });
    write(note(), 'Saved.');
  } catch (thrown) {
    write(note(), `Not saved: ${asApiError(thrown).message}`);
  }
}
