// Cameras are added, changed and removed here. A source is tried before it is saved.

/** @import { Devices, Stream } from './types.js' */

import { pageAddress } from './address.js';
import { asApiError, ask, at, ofStream, readJson } from './api.js';
import { $, part, toast, write } from './dom.js';
import { confirmed } from './recordings.js';

const TIMEOUT_MS = 30_000; // a trial takes 15 s at most
const JSON_TYPE = { 'Content-Type': 'application/json' };

/** @type {Stream | null} */
let edited = null; // null: a new one
/** @type {() => string[]} */
let taken = () => [];
let named = false; // by hand
/** @type {AbortController | null} */
let trial = null;
let pictureUrl = '';

const dialog = () => $('camera', HTMLDialogElement);
const note = () => $('camera-note');
/** @param {string} what */
const field = (what) => $(`camera-${what}`, HTMLInputElement);
const transport = () => $('camera-transport', HTMLSelectElement);
const picture = () => part(dialog(), 'img', HTMLImageElement);

/** @param {() => string[]} names those of all streams */
export function wireCameras(names) {
  taken = names;
  part(dialog(), 'form').addEventListener('submit', (event) => {
    event.preventDefault();
    void save();
  });
  field('source').addEventListener('input', () => {
    forgetTrial();
    if (!edited && !named) field('name').value = suggestedName(field('source').value, taken());
    showTransport();
  });
  field('name').addEventListener('input', () => { named = field('name').value !== ''; });
  transport().addEventListener('change', forgetTrial);
  $('camera-try').onclick = () => void tryIt();
  $('camera-cancel').onclick = () => { dialog().close(); };
  dialog().addEventListener('close', forgetTrial);
}

/** @param {Stream | null} stream null: a new one */
export function showCamera(stream) {
  edited = stream;
  named = false;
  const settings = stream?.wanted ?? stream?.settings ?? {};
  write($('camera-title'), stream ? `Camera ${stream.name}` : 'Add a camera');
  write($('camera-save'), stream ? 'Save' : 'Add');
  field('name').value = stream?.name ?? '';
  field('name').disabled = stream !== null;
  field('source').value = settings.source ?? '';
  field('demand').checked = settings.mode === 'on_demand';
  transport().value = settings.transport ?? 'tcp';
  $('camera-password-kept').hidden = !settings.source?.includes('***');
  write(note(), '');
  forgetTrial();
  showTransport();
  dialog().showModal();
  void listDevices();
}

async function listDevices() {
  const list = $('camera-devices');
  list.replaceChildren();
  try {
    const { devices } = /** @type {Devices} */ (await readJson(await ask(at('api/v1/devices'))));
    list.replaceChildren(...devices.map(({ path, stable_id: id, name, problem }) => {
      const button = Object.assign(document.createElement('button'), { type: 'button' });
      button.textContent = `${name} (${path})${problem ? `: ${problem}` : ''}`;
      button.onclick = () => {
        field('source').value = id ? `v4l2:${id}` : path;
        if (!edited && !named) field('name').value = suggestedName(name, taken());
        forgetTrial();
        showTransport();
      };
      return button;
    }));
    write($('camera-webcams'), devices.length ? 'Cameras on the computer that runs streamd:' : '');
  } catch (thrown) {
    write($('camera-webcams'), `Its own cameras cannot be listed: ${asApiError(thrown).message}`);
  }
}

/**
 * Of an address with a login only what follows the last at sign: a password may have any character, and must not show in a
 * name. Where it may go on behind a ?, nothing is taken.
 * @param {string} source
 */
function hostOf(source) {
  const [, rest] = /^[a-z+]+:\/\/(.*)$/is.exec(source) ?? [];
  if (rest === undefined) return undefined;
  const at = rest.lastIndexOf('@');
  if (rest.slice(0, Math.max(at, 0)).includes('?')) return '';
  return /^(\[[^\]]*\]|[^:/?#]*)/.exec(rest.slice(at + 1))?.[0] ?? '';
}

/**
 * Of the host, the file or the device, with what a name may have, and not taken.
 * @param {string} source
 * @param {string[]} others
 */
export function suggestedName(source, others) {
  const host = hostOf(source.trim());
  const text = host ?? source.trim().replace(/^[a-z0-9]+:/i, '').split('/').filter(Boolean).at(-1) ?? '';
  const plain = text.replace(/\.[a-z0-9]{2,4}$/i, (ending) => (host === undefined ? '' : ending));
  const name = plain.replace(/[^A-Za-z0-9_.-]+/g, '-').replace(/^[^A-Za-z0-9]+|[-.]+$/g, '').slice(0, 56) || 'camera';
  let number = 2;
  let free = name;
  while (others.includes(free)) free = `${name}-${number++}`;
  return source.trim() ? free : '';
}

function showTransport() {
  part(dialog(), '.transport').hidden = !/^rtsps?:/i.test(field('source').value.trim());
}

/** What is sent: a source that has not been touched stays, with its password. */
function settings() {
  const source = field('source').value.trim();
  const before = edited?.wanted ?? edited?.settings;
  return {
    ...(source === before?.source ? {} : { source }),
    transport: transport().value,
    mode: field('demand').checked ? 'on_demand' : 'always',
  };
}

function forgetTrial() {
  trial?.abort();
  trial = null;
  if (pictureUrl) URL.revokeObjectURL(pictureUrl);
  pictureUrl = '';
  picture().hidden = true;
  write($('camera-try'), 'Try');
}

async function tryIt() {
  if (trial) { // its button says Stop meanwhile
    forgetTrial();
    write(note(), '');
    return;
  }
  forgetTrial();
  const mine = (trial = new AbortController());
  const late = setTimeout(() => { mine.abort(); }, TIMEOUT_MS);
  write($('camera-try'), 'Stop');
  write(note(), 'Waiting for a picture …');
  const name = field('name').value.trim() || 'camera';
  const body = JSON.stringify({ ...settings(), source: field('source').value.trim() });
  try {
    const { signal } = mine;
    const answer = await ask(ofStream(name, '/trial'), { method: 'POST', body, headers: JSON_TYPE, signal });
    const blob = await answer.blob();
    if (trial !== mine) return;
    pictureUrl = URL.createObjectURL(blob);
    picture().src = pictureUrl;
    picture().hidden = false;
    write(note(), `It works: ${answer.headers.get('X-Source-Width') ?? ''} x ${answer.headers.get('X-Source-Height') ?? ''} pixels.`);
  } catch (thrown) {
    if (trial === mine) write(note(), plainly(asApiError(thrown)));
  } finally {
    clearTimeout(late);
    if (trial === mine) {
      trial = null;
      write($('camera-try'), 'Try');
    }
  }
}

/**
 * What to do about it comes first.
 * @param {{code: string, message: string}} error
 */
export function plainly({ code, message }) {
  /** @type {Record<string, string>} */
  const advice = {
    rejected: 'The camera refuses the user or the password.',
    unreachable: 'Nobody answers there: check address, port and network.',
    stalled: 'It answers, but sends no picture.',
    unsupported: 'Its video cannot be decoded: choose H.264 or H.265 in the camera.',
    ended: 'It has no picture.',
    busy: 'Two are being tried already.',
    forbidden: 'This token may only view.',
  };
  return [advice[code], message].filter(Boolean).join(' ');
}

async function save() {
  const name = field('name').value.trim();
  if (!edited && taken().includes(name)) {
    write(note(), `There is a stream called ${name} already: choose another name.`);
    field('name').focus();
    return;
  }
  write(note(), 'Saving …');
  const request = { method: edited ? 'PATCH' : 'PUT', body: JSON.stringify(settings()), headers: JSON_TYPE };
  try {
    await ask(ofStream(name, ''), { ...request, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (thrown) {
    write(note(), `Not saved: ${plainly(asApiError(thrown))}`);
    return;
  }
  dialog().close();
  toast(edited ? `${name} is changed` : `${name} is added`);
  if (!edited) location.hash = pageAddress({ layout: 'one', stream: name, views: new Map() });
}

/**
 * @param {string} name
 * @returns {Promise<boolean>} whether it was
 */
export async function removeCamera(name) {
  if (!(await confirmed(`Delete the stream ${name}? Its recordings stay.`))) return false;
  try {
    await ask(ofStream(name, ''), { method: 'DELETE', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (thrown) {
    toast(`Not removed: ${asApiError(thrown).message}`);
    return false;
  }
  toast(`${name} is removed`);
  return true;
}
