// The viewer page: one state, read from the API each second and from the player, drawn by render().
// What the API says is put in as text, never as markup.

import { WhepViewer, errorFrom } from './whep.js';

const VIEWS = { depth: 'Depth', overlay: 'Overlay', 'side-by-side': 'Side by side', source: 'Source', gray: 'Gray' };
const POLL_MS = 1000;
const POLL_TIMEOUT_MS = 5000;
const STALL_MS = 10_000; // frames are published, none is seen here
const TOKEN_KEY = 'streamd.token';

const $ = (id) => document.getElementById(id);
const video = $('video');
const hold = $('hold'); // the last picture, behind the video until the next session shows one

const state = {
  api: null, // the newest answer of /api/v1/streams
  failures: 0, // polls without an answer, in a row
  tokenNeeded: false,
  stream: null, // chosen, from the address
  view: 'depth',
  playing: null, // "stream view" the player was told to play
  player: { phase: 'stopped', error: null },
  pathless: 0, // sessions in a row that found no media path
  picture: false, // the newest session has shown a picture
  blocked: false, // the browser wants a tap before it plays
  measured: null,
  frames: { count: -1, at: 0 }, // when the decoded count last moved
};

const viewer = new WhepViewer({ onStream: show, onState: playerChanged, headers: authorization });

// --- small helpers

const current = () => state.api?.streams.find((stream) => stream.name === state.stream) ?? null;
const serverGone = () => state.failures >= (state.api ? 2 : 1);
const wordFor = (stream) => (serverGone() ? 'no answer' : stream?.state);
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const fixed = (value, digits = 0) => (isNumber(value) ? value.toFixed(digits) : '–');
const whole = (value) => (isNumber(value) ? value.toLocaleString('en-US') : '–');
const joined = (separator, ...parts) => parts.filter(Boolean).join(separator);
const hashFor = (stream, view) => `#${new URLSearchParams({ stream, view })}`;

/** The item `by` places after `item`, round and round. */
const next = (items, item, by = 1) => items[(items.indexOf(item) + by + items.length) % items.length];

/** Set text only when it differs, so that live regions speak once. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function authorization() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

const get = (url, signal) => fetch(url, { headers: authorization(), cache: 'no-store', signal });

let toastTimer;
function toast(text) {
  write($('toast'), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => write($('toast'), ''), 4000);
}

// --- the address decides what is shown

function viewsOf(stream) {
  return stream?.views ?? Object.keys(VIEWS);
}

function go(stream, view, how = 'pushState') {
  history[how](null, '', hashFor(stream, view));
  follow();
}

/** Bring player and page in line with the address and with the streams that exist. */
function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const first = state.api?.streams[0]?.name;
  if (!wanted.get('stream') && first) return go(first, wanted.get('view') ?? 'depth', 'replaceState');
  const changed = wanted.get('stream') !== state.stream;
  state.stream = wanted.get('stream');
  const view = wanted.get('view') ?? 'depth';
  state.view = viewsOf(current()).includes(view) ? view : 'depth';
  if (changed) clearPicture();
  const exists = state.stream && (!state.api || current());
  play(exists ? `${state.stream} ${state.view}` : null);
  render();
}

function play(key) {
  if (key === state.playing) return;
  state.playing = key;
  state.picture = false;
  state.pathless = 0;
  state.player.error = null;
  if (!key) return viewer.stop();
  const query = new URLSearchParams({ view: state.view });
  viewer.play(`whep/${encodeURIComponent(state.stream)}?${query}`);
}

function step(by = 1) {
  go(next(state.api.streams.map(({ name }) => name), state.stream, by), state.view);
}

const stepBack = () => step(-1);

function nextView() {
  const views = Object.keys(VIEWS).filter((view) => viewsOf(current()).includes(view));
  if (state.stream) go(state.stream, next(views, state.view), 'replaceState');
}

// --- the player

function playerChanged({ phase, error }) {
  if (phase === 'connected') state.pathless = 0;
  if (error?.code === 'no_media_path') state.pathless += 1;
  if (error?.status === 401) state.tokenNeeded = true;
  if (phase !== 'connected') state.measured = null;
  state.frames = { count: -1, at: performance.now() };
  // The last failure stays on the screen during the next attempt.
  state.player = { phase, error: phase === 'connecting' ? state.player.error : error };
  render();
}

function show(stream) {
  holdPicture();
  state.picture = false;
  video.srcObject = stream;
  video.play().catch((error) => {
    state.blocked = error.name === 'NotAllowedError';
    render();
  });
}

function holdPicture() {
  if (!video.videoWidth) return;
  hold.width = video.videoWidth;
  hold.height = video.videoHeight;
  hold.getContext('2d').drawImage(video, 0, 0);
  hold.hidden = false;
}

function clearPicture() {
  video.srcObject = null;
  hold.hidden = true;
  state.picture = false;
}

function pictureArrived() {
  hold.hidden = true;
  state.picture = true;
  state.blocked = false;
  state.player.error = null;
  render();
}

async function measure() {
  state.measured = await viewer.measure();
  if (!state.measured) return;
  const { frames } = state.measured;
  const now = performance.now();
  if (frames !== state.frames.count) state.frames = { count: frames, at: now };
  else if (now - state.frames.at > STALL_MS && current()?.fps_out >= 1) viewer.reconnect('No pictures arrive.');
}

// --- the API

async function poll() {
  const wasGone = state.failures > 0;
  try {
    const response = await get('api/v1/streams', AbortSignal.timeout(POLL_TIMEOUT_MS));
    state.tokenNeeded = response.status === 401 || response.status === 403;
    if (!state.tokenNeeded) {
      if (!response.ok) throw new Error(`status ${response.status}`);
      const before = current()?.state;
      const api = await response.json();
      if (!Array.isArray(api.streams)) throw new Error('no streams');
      state.api = api;
      if (wasGone || (before !== 'running' && current()?.state === 'running')) viewer.retry();
    }
    state.failures = 0;
  } catch {
    state.failures += 1;
  }
}

let pollTimer;
async function tick() {
  clearTimeout(pollTimer);
  const started = performance.now();
  try {
    await Promise.all([poll(), measure()]);
    follow();
  } finally {
    clearTimeout(pollTimer);
    const rest = Math.max(POLL_MS - (performance.now() - started), 250);
    if (!document.hidden) pollTimer = setTimeout(tick, rest);
  }
}

async function saveSnapshot() {
  const { stream, view } = state;
  if (!stream) return;
  try {
    const response = await get($('snapshot').href);
    if (!response.ok) throw await errorFrom(response);
    const time = new Date().toISOString().slice(0, 19).replace(/\D/g, '');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${stream}-${view}-${time}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    toast(`Saved ${link.download}`);
  } catch (error) {
    toast(`No snapshot: ${error.message}`);
  }
}

// --- drawing

function render() {
  renderStreams();
  renderHead();
  renderControls();
  renderReadouts();
  renderModel();
  renderNotice();
}

function renderStreams() {
  const list = $('streams');
  const streams = state.api?.streams ?? [];
  if (list.children.length !== streams.length || streams.some(({ name }, i) => list.children[i].dataset.name !== name)) {
    list.replaceChildren(...streams.map(streamItem));
  }
  streams.forEach((stream, i) => {
    const link = list.children[i].firstElementChild;
    const [dot, , detail] = link.children;
    link.href = hashFor(stream.name, state.view);
    link.title = stream.reason ?? '';
    const chosen = stream.name === state.stream;
    if (chosen && link.ariaCurrent !== 'true') link.scrollIntoView({ block: 'nearest' });
    link.ariaCurrent = String(chosen);
    dot.dataset.state = wordFor(stream);
    write(detail, wordFor(stream));
  });
  write($('version'), state.api?.version ? `version ${state.api.version}` : '');
}

function streamItem({ name }) {
  const item = $('stream').content.firstElementChild.cloneNode(true);
  item.dataset.name = name;
  item.firstElementChild.dataset.testid = `stream-${name}`;
  item.querySelector('b').textContent = name;
  return item;
}

function renderHead() {
  const stream = current();
  const word = state.tokenNeeded ? 'token needed' : wordFor(stream) ?? (state.api ? 'no stream' : 'connecting');
  write($('name'), state.stream ?? 'Live depth');
  write($('state'), word);
  $('dot').dataset.state = word;
  write($('reason'), serverGone() ? '' : stream?.reason ?? '');
  document.title = state.stream ? `${state.stream}, ${VIEWS[state.view] ?? state.view} – streamd` : 'streamd';
}

function renderControls() {
  const available = viewsOf(current());
  for (const button of $('views').children) {
    button.ariaPressed = String(button.dataset.view === state.view);
    button.disabled = !state.stream || !available.includes(button.dataset.view);
  }
  $('stage').dataset.view = state.view;
  $('snapshot').hidden = $('full').hidden = !state.stream;
  const query = new URLSearchParams({ view: state.view, format: 'png' });
  if (state.stream) $('snapshot').href = `api/v1/streams/${encodeURIComponent(state.stream)}/snapshot?${query}`;
}

function readout(id, value) {
  const node = $(id);
  write(node.firstElementChild, value);
  node.classList.toggle('none', value === '–');
}

function renderReadouts() {
  const stream = serverGone() ? null : current();
  const seen = serverGone() ? null : state.measured;
  readout('fps', fixed(seen?.fps, 1));
  write($('fps-more'), isNumber(stream?.fps_in) ? `source ${fixed(stream.fps_in, 1)} → depth ${fixed(stream.fps_out, 1)}` : '');

  const { p50, p95 } = stream?.latency_ms ?? {};
  const parts = [['server', p50], ['network', seen?.networkMs], ['browser', seen?.browserMs]];
  const known = parts.filter(([, ms]) => isNumber(ms));
  const total = known.reduce((sum, [, ms]) => sum + ms, 0);
  const complete = isNumber(p50) && isNumber(seen?.browserMs); // a browser may not tell the network's share
  readout('latency', complete ? `${known.length === 3 ? '≈' : '≥'} ${fixed(total)}` : '–');
  write($('latency-parts'), known.map(([what, ms]) => `${what} ${fixed(ms)}`).join(' + '));
  write($('latency-p95'), isNumber(p95) ? `server p95 ${fixed(p95)}` : '');

  const skipped = Object.entries(stream?.skipped ?? {}).filter(([, count]) => count > 0);
  readout('skipped', stream?.skipped ? whole(skipped.reduce((sum, [, count]) => sum + count, 0)) : '–');
  write($('skipped-more'), skipped.map(([reason, count]) => `${reason} ${whole(count)}`).join(', '));

  readout('viewers', whole(stream?.viewers));
  readout('size', isNumber(stream?.width) ? `${stream.width} × ${fixed(stream.height)}` : '–');
  write($('source'), stream?.source ?? '');
}

function renderModel() {
  const model = serverGone() ? null : state.api?.model;
  const flicker = current()?.flicker;
  readout('model', model?.title ?? model?.name ?? '–');
  const unready = model?.state !== 'ready' && model?.state;
  const steadiness = model && isNumber(flicker) && `flicker ${fixed(flicker * 100, 1)} %`;
  write($('model-more'), joined(' · ', unready, model?.runtime, model?.precision, steadiness));
  write($('model-note'), joined('\n', model?.coarse && 'coarse built-in model', model?.message));
}

// --- the notice over the picture: what is wrong, what to do

const TRY = { button: 'Try now', act: () => viewer.retry() };

function noticeNow() {
  const stream = current();
  const { phase, error } = state.player;
  if (state.tokenNeeded) {
    return { title: 'This streamd asks for a token', text: 'It is one of view_tokens in its configuration.', token: true };
  }
  if (serverGone()) {
    const text = 'If it stays away, look at its service:';
    return { title: 'streamd does not answer; trying again', text, code: 'systemctl status streamd', busy: true };
  }
  if (state.api && !state.api.streams.length) {
    const text = 'Add [streams.NAME] to the configuration, or start one:';
    return { title: 'No streams yet', text, code: 'streamd run rtsp://camera.local/stream' };
  }
  if (state.api && !stream) return { title: `There is no stream “${state.stream}”`, text: 'Choose one from the list.' };
  if (state.blocked) return { title: 'Ready', button: 'Play', act: () => video.play() };
  if (phase === 'connected' && state.picture) return null;
  if (phase === 'failed') return { title: 'This stream cannot be played here', text: error.message, ...TRY };
  if (state.pathless > 0) {
    const text = 'streamd answers, but no video gets through (UDP). See udp_ports and advertise under [webrtc], or the firewall.';
    return { title: 'No video path', text, busy: true, ...TRY };
  }
  if (error) {
    const over = { failed: 'has failed', ended: 'has ended' }[stream?.state];
    const title = over ? `${state.stream} ${over}` : 'No picture; trying again';
    return { title, text: stream?.reason ?? error.message, busy: !over, ...TRY };
  }
  return { title: 'Connecting', busy: true, quiet: true };
}

let noticeAct = null;
function renderNotice() {
  const notice = noticeNow();
  const box = $('notice');
  box.hidden = !notice;
  $('screen').classList.toggle('dim', Boolean(notice && !notice.quiet));
  if (!notice) return;
  noticeAct = notice.act;
  box.classList.toggle('quiet', Boolean(notice.quiet));
  $('notice-busy').hidden = !notice.busy;
  $('token-form').hidden = !notice.token;
  for (const part of ['title', 'text', 'code', 'button']) {
    const node = $(`notice-${part}`);
    node.hidden = !notice[part];
    write(node, notice[part] ?? '');
  }
}

// --- hands: buttons, keys, coming and going

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('stage').requestFullscreen) $('stage').requestFullscreen().catch(() => toast('Full screen is not allowed here.'));
  else video.webkitEnterFullscreen?.(); // iPhone
}

const KEYS = {
  ArrowLeft: stepBack,
  ArrowUp: stepBack,
  ArrowRight: step,
  ArrowDown: step,
  v: nextView,
  f: toggleFullScreen,
  s: saveSnapshot,
  '?': () => $('help').showModal(),
};

function keyPressed(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if ($('help').open || target.closest('input')) return;
  const numbered = /^[1-9]$/.test(key) && state.api?.streams[key - 1];
  const act = numbered ? () => go(numbered.name, state.view) : KEYS[key];
  if (!act || (key.startsWith('Arrow') && !(state.api?.streams.length > 1))) return;
  event.preventDefault();
  act();
}

function wire() {
  for (const [view, title] of Object.entries(VIEWS)) {
    const button = document.createElement('button');
    Object.assign(button.dataset, { view, testid: `view-${view}` });
    button.textContent = title;
    button.onclick = () => go(state.stream, view, 'replaceState');
    $('views').append(button);
  }
  $('full').onclick = $('screen').ondblclick = toggleFullScreen;
  $('snapshot').onclick = (event) => {
    event.preventDefault();
    saveSnapshot();
  };
  $('help-open').onclick = () => $('help').showModal();
  $('notice-button').onclick = () => noticeAct?.();
  $('token-form').onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN_KEY, $('token').value);
    $('token').value = '';
    tick().then(() => viewer.retry());
  };
  video.addEventListener('loadeddata', pictureArrived);
  document.addEventListener('keydown', keyPressed);
  document.addEventListener('visibilitychange', () => {
    state.frames.at = performance.now(); // nothing was counted while hidden
    if (document.hidden) return;
    viewer.retry();
    tick();
  });
  window.addEventListener('hashchange', follow);
  window.addEventListener('pagehide', () => play(null)); // ends the session at once (DELETE with keepalive)
  window.addEventListener('pageshow', (event) => event.persisted && follow());
}

wire();
follow(); // a link that names its stream connects at once
tick();
