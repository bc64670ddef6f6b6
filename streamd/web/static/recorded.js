// A day of what was recorded of a stream: found on the line of time, played with its views in step, cut, deleted.

/** @import { RecordedDay, RecordedTrack, TimeSpan } from './types.js' */

import { VIEWS } from './address.js';
import { asApiError, ask, at, readJson } from './api.js';
import { $, has, saveAs, write } from './dom.js';
import { Reel } from './reel.js';
import { clock, clamped, dateText, dayOf, nextRecorded, union } from './timescale.js';
import { Timeline } from './timeline.js';

const CLIP_MS = 30_000; // of one whose end was not chosen
const CLIP_TIMEOUT_MS = 600_000;
const APART_MS = 120; // views in step are no further apart
const CLOSER_MS = 250; // after the last zoom or move
const AGAIN_MS = 1500; // while recordings are read for the first time
const SHOWN_AT_ONCE = 2;
const NOT_PLAYED = 'depth16'; // data, not video

/** @type {Timeline} */
let line;
/** @type {{confirmed: (text: string) => Promise<boolean>, changed: () => void}} */
let dialog;
/** @type {RecordedDay | null} */
let day = null;
/** @type {string[]} views that are shown */
let views = [];
/** @type {Reel[]} the first leads */
let reels = [];
let stream = '';
let playing = false;
let opened = 0; // counts: answers to an earlier question are thrown away
/** @type {number | undefined} */
let ticker;
/** @type {number | undefined} */
let closer;

/** @param {typeof dialog} given what the dialog around it does */
export function wireRecorded(given) {
  dialog = given;
  line = new Timeline((ms) => void seek(ms), setClip, () => {
    clearTimeout(closer);
    closer = setTimeout(() => void lookCloser(), CLOSER_MS);
  });
  $('recorded-stream', HTMLSelectElement).onchange = ({ target }) => void choose(/** @type {HTMLSelectElement} */ (target).value);
  $('day', HTMLInputElement).onchange = () => {
    const { value } = $('day', HTMLInputElement);
    if (value) void load(dayOf(new Date(`${value}T00:00`).getTime()));
  };
  $('day-before').onclick = () => void toDay(day?.before, -1);
  $('day-after').onclick = () => void toDay(day?.after, 1);
  $('recorded-play').onclick = toggle;
  $('zoom-in').onclick = () => { line.zoom(0.5); };
  $('zoom-out').onclick = () => { line.zoom(2); };
  $('clip-begin').onclick = () => { cutAt('from'); };
  $('clip-end').onclick = () => { cutAt('to'); };
  $('clip-save').onclick = () => void saveClip();
  $('clip-delete').onclick = () => void deleteSpan();
  $('recorded').addEventListener('keydown', keyPressed);
}

/**
 * @param {string | null} name of the stream that is looked at
 * @param {boolean} control
 */
export async function showRecorded(name, control) {
  $('clip-delete').hidden = !control;
  stream = name ?? '';
  ticker = setInterval(tick, 100);
  await load(dayOf(Date.now()));
  const latest = day?.before;
  if (day && !ownTracks().some(({ spans }) => spans.length) && latest) await toDay(latest, -1);
}

export function closeRecorded() {
  clearInterval(ticker);
  clearTimeout(closer);
  opened += 1;
  setPlaying(false);
  closeReels();
}

// --- which day

/** @returns {RecordedTrack[]} */
const ownTracks = () => day?.tracks.filter((track) => track.stream === stream) ?? [];

/** @param {RecordedTrack} track @returns {TimeSpan[]} */
const spansOf = (track) => track.spans.map(({ from, to }) => [Date.parse(from), Date.parse(to)]);

/**
 * @param {string | null | undefined} time within it
 * @param {-1 | 1} towards that is its end, or its beginning
 */
async function toDay(time, towards) {
  if (time) await load(dayOf(Date.parse(time) + (towards < 0 ? -1 : 0)));
}

/** @param {string} name */
async function choose(name) {
  stream = name;
  views = [];
  await load(line.whole);
}

/** @param {TimeSpan} whole */
async function load(whole, keeps = false) {
  const time = ++opened;
  if (!keeps) setPlaying(false);
  try {
    const found = await ask(at('api/v1/recordings/timeline', { from: iso(whole[0]), to: iso(whole[1]) }));
    const answer = /** @type {RecordedDay} */ (await readJson(found));
    if (time !== opened) return;
    const another = whole[0] !== line.whole[0] || !keeps;
    day = answer;
    fillStreams();
    await neighbours(whole, time);
    if (time !== opened) return;
    showDay(whole, another);
    if (!answer.complete) setTimeout(() => { if (time === opened) void load(whole, true); }, AGAIN_MS);
  } catch (thrown) {
    if (time === opened) note(asApiError(thrown).message);
  }
}

/**
 * The days beside it are those of this stream.
 * @param {TimeSpan} whole
 * @param {number} time
 */
async function neighbours(whole, time) {
  const query = { stream, from: iso(whole[0]), to: iso(whole[1]) };
  const own = /** @type {RecordedDay} */ (await readJson(await ask(at('api/v1/recordings/timeline', query))));
  if (time === opened && day) Object.assign(day, { before: own.before, after: own.after });
}

function fillStreams() {
  const names = [...new Set(day?.tracks.map((track) => track.stream))];
  const select = $('recorded-stream', HTMLSelectElement);
  if (!names.includes(stream)) stream = names[0] ?? stream;
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === stream)));
  select.disabled = names.length < 2;
}

/**
 * @param {TimeSpan} whole
 * @param {boolean} another it is not the one that was shown
 */
function showDay(whole, another) {
  const tracks = ownTracks();
  if (another) line.open(whole);
  line.rows = tracks.map((track) => ({ view: track.view, spans: spansOf(track) }));
  $('day', HTMLInputElement).value = dateText(whole[0]);
  $('day-before', HTMLButtonElement).disabled = !day?.before;
  $('day-after', HTMLButtonElement).disabled = !day?.after;
  $('recorded').classList.toggle('nothing', !tracks.some(({ spans }) => spans.length));
  chooseViews(tracks.filter(({ spans, view }) => spans.length && view !== NOT_PLAYED).map(({ view }) => view));
  const first = nextRecorded(recorded(), another ? whole[0] : line.playhead);
  note(!day?.complete ? 'Recordings are read …' : first === null && !tracks.some(({ spans }) => spans.length) ? 'Nothing was recorded on this day.' : '');
  updateClip();
  if (another && first !== null) void seek(first);
  else line.draw();
  if (!another) void lookCloser();
}

/** The spans of a whole day are drawn as finely as a day needs: of a part of it they are asked for anew. */
async function lookCloser() {
  const { shown } = line;
  const time = opened;
  const query = { stream, from: iso(shown[0]), to: iso(shown[1]) };
  try {
    const part = /** @type {RecordedDay} */ (await readJson(await ask(at('api/v1/recordings/timeline', query))));
    if (time !== opened || shown !== line.shown) return;
    line.rows = line.rows.map(({ view }) => {
      const track = part.tracks.find((each) => each.view === view);
      return { view, spans: track ? spansOf(track) : [] };
    });
    line.draw();
  } catch (thrown) {
    if (time === opened) note(asApiError(thrown).message);
  }
}

/** Where any view that is shown has something. */
const recorded = () => union(ownTracks().filter(({ view }) => view !== NOT_PLAYED).flatMap(spansOf));

// --- which views

/** @param {string[]} there */
function chooseViews(there) {
  const kept = views.filter((view) => there.includes(view));
  const usual = ['depth', 'source'].filter((view) => there.includes(view));
  views = kept.length ? kept : usual.length ? usual : there.slice(0, 1);
  $('recorded-views').replaceChildren(...there.map(viewButton));
  $('recorded-views').hidden = there.length < 2;
  if (reels.map(({ view, stream: of }) => `${of} ${view}`).join() !== views.map((view) => `${stream} ${view}`).join()) openReels();
}

/** @param {string} view */
const title = (view) => (has(VIEWS, view) ? VIEWS[view] : view);

/** @param {string} view */
function viewButton(view) {
  const button = document.createElement('button');
  button.textContent = title(view);
  button.dataset.view = view;
  button.dataset.testid = `recorded-${view}`;
  button.ariaPressed = String(views.includes(view));
  button.onclick = () => {
    const left = views.filter((other) => other !== view);
    views = left.length < views.length ? (left.length ? left : views) : [...views, view].slice(-SHOWN_AT_ONCE);
    for (const each of $('recorded-views').querySelectorAll('button')) each.ariaPressed = String(views.includes(each.dataset.view ?? ''));
    openReels();
    void seek(line.playhead);
  };
  return button;
}

function closeReels() {
  for (const reel of reels) reel.close();
  reels = [];
  $('reels').replaceChildren();
}

function openReels() {
  closeReels();
  reels = views.map((view) => {
    const figure = document.createElement('figure');
    const box = document.createElement('div');
    box.className = 'screen';
    const caption = document.createElement('figcaption');
    caption.textContent = title(view);
    figure.append(box, caption);
    $('reels').append(figure);
    return new Reel(stream, view, box, ended);
  });
  if (playing) for (const reel of reels) reel.play();
}

// --- playing

/** @param {number} ms */
async function seek(ms) {
  line.playhead = clamped(ms, line.whole);
  line.follow();
  showTime();
  try {
    await Promise.all(reels.map((reel) => reel.seek(line.playhead)));
  } catch (thrown) {
    note(asApiError(thrown).message);
  }
}

function toggle() {
  setPlaying(!playing);
}

/** @param {boolean} value */
function setPlaying(value) {
  playing = value;
  const button = $('recorded-play');
  button.ariaLabel = value ? 'Pause' : 'Play';
  button.classList.toggle('playing', value);
  if (value && reels.every(({ isAtEnd }) => isAtEnd)) void seek(line.playhead);
  for (const reel of reels) {
    if (value) reel.play();
    else reel.pause();
  }
}

/** One has nothing more: go on where anything was recorded next. */
function ended() {
  if (!playing || reels.some(({ isAtEnd }) => !isAtEnd)) return;
  const next = nextRecorded(recorded(), line.playhead + 1000);
  if (next !== null && next > line.playhead + 1500) void seek(next);
  else setPlaying(false);
}

function tick() {
  const leader = reels.find(({ isAtEnd }) => !isAtEnd);
  const time = leader?.time ?? null;
  if (!leader || time === null || !playing) return;
  line.playhead = clamped(time, line.whole);
  line.follow();
  showTime();
  for (const reel of reels) {
    const apart = reel === leader || reel.time === null ? 0 : reel.time - time;
    if (Math.abs(apart) > 10 * APART_MS) void reel.seek(time).catch(() => undefined);
    else reel.video.playbackRate = Math.abs(apart) > APART_MS ? (apart > 0 ? 0.85 : 1.15) : 1;
  }
}

const showTime = () => { write($('recorded-time'), clock(line.playhead)); };

/** @param {KeyboardEvent} event */
function keyPressed(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || (target instanceof Element && target.closest('input, select'))) return;
  if (key === ' ' && !(target instanceof HTMLButtonElement)) toggle();
  else if (key === '[') cutAt('from');
  else if (key === ']') cutAt('to');
  else return;
  event.preventDefault();
}

// --- clips

/** @param {'from' | 'to'} end */
function cutAt(end) {
  const now = line.playhead;
  const [from, to] = line.clip ?? (end === 'from' ? [now, now + CLIP_MS] : [now - CLIP_MS, now]);
  const clip = end === 'from' ? [now, to > now ? to : now + CLIP_MS] : [from < now ? from : now - CLIP_MS, now];
  setClip(/** @type {TimeSpan} */ (clip.map((ms) => clamped(ms, line.whole))));
}

/** @param {TimeSpan} clip */
function setClip(clip) {
  line.clip = clip;
  line.draw();
  updateClip();
}

function updateClip() {
  const { clip } = line;
  for (const id of ['clip-save', 'clip-delete']) $(id, HTMLButtonElement).disabled = !clip;
  $('clip-save', HTMLButtonElement).disabled = !clip || !views.length;
  if (clip) note(`Clip: ${clock(clip[0])} – ${clock(clip[1])}, ${Math.round((clip[1] - clip[0]) / 1000)} s`);
}

async function saveClip() {
  if (!line.clip) return;
  const [from, to] = line.clip;
  $('clip-save', HTMLButtonElement).disabled = true;
  note('Cutting …');
  try {
    for (const view of views) {
      const url = at('api/v1/recordings/clip', { stream, view, from: iso(from), to: iso(to) });
      const response = await ask(url, { signal: AbortSignal.timeout(CLIP_TIMEOUT_MS) });
      const name = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1] ?? 'clip.mp4';
      const leftOut = Number(response.headers.get('X-Clip-Left-Out-Seconds'));
      saveAs(await response.blob(), name);
      note(`Saved ${name}${leftOut > 1 ? `; ${leftOut.toFixed(0)} s without a recording are left out` : ''}`);
    }
  } catch (thrown) {
    note(`No clip: ${asApiError(thrown).message}`);
  } finally {
    $('clip-save', HTMLButtonElement).disabled = !line.clip;
  }
}

async function deleteSpan() {
  if (!line.clip) return;
  const [from, to] = line.clip;
  const what = `${stream}, ${clock(from)} – ${clock(to)}`;
  if (!(await dialog.confirmed(`Delete all files that lie in this span, of all views? ${what}. They cannot be brought back.`))) return;
  try {
    const url = at('api/v1/recordings', { stream, from: iso(from), to: iso(to) });
    const answer = await ask(url, { method: 'DELETE', signal: AbortSignal.timeout(CLIP_TIMEOUT_MS) });
    const { deleted, kept } = /** @type {{deleted: number, kept: number}} */ (await readJson(answer));
    for (const reel of reels) reel.forget();
    line.clip = null;
    dialog.changed();
    await load(line.whole, true);
    await seek(line.playhead);
    note(`${deleted} deleted${kept ? `; ${kept} reach beyond the span, or are being recorded, and were kept` : ''}`);
  } catch (thrown) {
    note(`Not deleted: ${asApiError(thrown).message}`);
  }
}

/** @param {string} text */
const note = (text) => { write($('recorded-note'), text); };

/** @param {number} ms */
const iso = (ms) => new Date(ms).toISOString();
