// The viewer page: one state, read from the API each second and from the player, drawn by render().
// Everything that comes from the API is put in as text, never as markup.

import { WhepViewer } from './whep.js';

const VIEWS = { depth: 'Depth', overlay: 'Overlay', 'side-by-side': 'Side by side', source: 'Source', gray: 'Gray' };
const POLL_MS = 1000;
const POLL_TIMEOUT_MS = 5000;
const STALL_MS = 10_000; // connected, frames published, none seen here
const TOKEN_KEY = 'streamd.token';

const $ = (id) => document.getElementById(id);
const video = $('video');
const hold = $('hold'); // the last picture, shown behind the video while the next session starts

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
  frames: { count: -1, at: 0 }, // last time the decoded count moved
};

const viewer = new WhepViewer({ onStream: show, onState: playerChanged, headers: authorization });

// ---------------------------------------------------------------- small helpers

const current = () => state.api?.streams.find((stream) => stream.name === state.stream) ?? null;
const serverGone = () => state.failures >= (state.api ? 2 : 1);
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const fixed = (value, digits = 0) => (isNumber(value) ? value.toFixed(digits) : '–');
const whole = (value) => (isNumber(value) ? value.toLocaleString('en-US') : '–');
const joined = (...parts) => parts.filter(Boolean).join(' · ');
const hashFor = (stream, view) => `#${new URLSearchParams({ stream, view })}`;
const apiPath = (name, rest) => `api/v1/streams/${encodeURIComponent(name)}/${rest}`;

/** Set text only when it differs, so that live regions speak once. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function authorization() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

let toastTimer;
function toast(text) {
  write($('toast'), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => write($('toast'), ''), 4000);
}

// ---------------------------------------------------------------- what to show: the address decides

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
  if (!key) return viewer.stop();
  const query = new URLSearchParams({ view: state.view });
  viewer.play(new URL(`whep/${encodeURIComponent(state.stream)}?${query}`, document.baseURI).href);
}

function step(by) {
  const names = state.api?.streams.map((stream) => stream.name) ?? [];
  if (names.length < 2) return;
  const at = names.indexOf(state.stream);
  go(names[(at + by + names.length) % names.length], state.view);
}

function stepView(by) {
  const views = Object.keys(VIEWS).filter((view) => viewsOf(current()).includes(view));
  const at = views.indexOf(state.view);
  if (state.stream && views.length) go(state.stream, views[(at + by + views.length) % views.length], 'replaceState');
}

// ---------------------------------------------------------------- the player

function playerChanged({ phase, error }) {
  if (phase === 'connected') state.pathless = 0;
  if (error?.code === 'no_media_path') state.pathless += 1;
  if (error?.status === 401) state.tokenNeeded = true;
  if (phase !== 'connected') state.measured = null;
  state.frames = { count: -1, at: performance.now() };
  // Between two attempts the last failure stays on the screen.
  state.player = { phase, error: phase === 'connecting' && !state.picture ? state.player.error : error };
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
  const { frames } = state;
  const now = performance.now();
  if (state.measured.frames !== frames.count) state.frames = { count: state.measured.frames, at: now };
  else if (now - frames.at > STALL_MS && current()?.fps_out >= 1) viewer.reconnect('No pictures arrive.');
}

// ---------------------------------------------------------------- the API

async function poll() {
  const wasGone = state.failures > 0;
  try {
    const signal = AbortSignal.timeout(POLL_TIMEOUT_MS);
    const response = await fetch('api/v1/streams', { headers: authorization(), cache: 'no-store', signal });
    state.tokenNeeded = response.status === 401 || response.status === 403;
    if (!state.tokenNeeded) {
      if (!response.ok) throw new Error(`status ${response.status}`);
      const before = current()?.state;
      state.api = await response.json();
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
  await Promise.all([poll(), measure()]);
  follow();
  clearTimeout(pollTimer);
  const rest = Math.max(POLL_MS - (performance.now() - started), 250);
  if (!document.hidden) pollTimer = setTimeout(tick, state.failures > 5 ? 3 * rest : rest);
}

async function saveSnapshot() {
  const { stream, view } = state;
  if (!stream) return;
  try {
    const response = await fetch($('snapshot').href, { headers: authorization(), cache: 'no-store' });
    if (!response.ok) {
      const { error } = await response.json().catch(() => ({}));
      throw new Error(error?.message ?? `the server answered ${response.status}`);
    }
    const time = new Date().toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
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

// ---------------------------------------------------------------- drawing

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
    if (stream.name === state.stream) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
    dot.dataset.state = serverGone() ? 'unknown' : stream.state;
    const rate = stream.state === 'running' && isNumber(stream.fps_out) && `${fixed(stream.fps_out)} fps`;
    write(detail, serverGone() ? 'no answer' : joined(stream.state, rate));
  });
  write($('version'), state.api?.version ? `version ${state.api.version}` : '');
}

function streamItem({ name }) {
  const item = document.createElement('li');
  const link = document.createElement('a');
  item.dataset.name = name;
  link.dataset.testid = `stream-${name}`;
  const [dot, label, detail] = ['i', 'b', 'small'].map((tag) => document.createElement(tag));
  dot.className = 'dot';
  label.textContent = name;
  link.append(dot, label, detail);
  item.append(link);
  return item;
}

function renderHead() {
  const stream = current();
  const word = serverGone() ? 'no answer' : stream?.state ?? (state.api ? 'no stream' : 'connecting');
  write($('name'), state.stream ?? 'Live depth');
  write($('state'), word);
  $('dot').dataset.state = serverGone() ? 'unknown' : word;
  write($('reason'), serverGone() ? '' : stream?.reason ?? '');
  document.title = state.stream ? `${state.stream}, ${VIEWS[state.view] ?? state.view} – streamd` : 'streamd';
}

function renderControls() {
  const available = viewsOf(current());
  for (const button of $('views').children) {
    button.setAttribute('aria-pressed', String(button.dataset.view === state.view));
    button.disabled = !state.stream || !available.includes(button.dataset.view);
  }
  $('stage').dataset.view = state.view;
  $('full').disabled = !state.stream;
  const query = new URLSearchParams({ view: state.view, format: 'png' });
  if (state.stream) $('snapshot').href = apiPath(state.stream, `snapshot?${query}`);
  $('snapshot').toggleAttribute('aria-disabled', !state.stream);
}

function readout(id, value) {
  const node = $(id);
  write(node.firstElementChild, value);
  node.classList.toggle('none', value === '–');
}

function renderReadouts() {
  const stream = serverGone() ? null : current();
  const seen = state.measured;
  readout('fps', fixed(seen?.fps, 1));
  const rates = [['source', stream?.fps_in], ['depth', stream?.fps_out]].filter(([, value]) => isNumber(value));
  write($('fps-more'), rates.map(([what, value]) => `${what} ${fixed(value, 1)}`).join(' → '));

  const { p50, p95 } = stream?.latency_ms ?? {};
  const parts = [p50, seen?.networkMs, seen?.browserMs];
  readout('latency', parts.every(isNumber) ? `≈ ${fixed(parts.reduce((sum, part) => sum + part, 0))}` : '–');
  write($('latency-server'), isNumber(p50) ? `server ${fixed(p50)}, p95 ${fixed(p95)}` : '');
  write($('latency-browser'), seen ? `network ${fixed(seen.networkMs)} + browser ${fixed(seen.browserMs)}` : '');

  const skipped = Object.entries(stream?.skipped ?? {}).filter(([, count]) => count > 0);
  readout('skipped', stream?.skipped ? whole(skipped.reduce((sum, [, count]) => sum + count, 0)) : '–');
  write($('skipped-more'), skipped.map(([reason, count]) => `${reason} ${whole(count)}`).join(', '));

  readout('viewers', whole(stream?.viewers));
  readout('size', isNumber(stream?.width) ? `${stream.width} × ${fixed(stream.height)}` : '–');
  write($('source'), stream?.source ?? '');
  $('source').title = stream?.source ?? '';
}

function renderModel() {
  const model = serverGone() ? null : state.api?.model;
  const flicker = current()?.flicker;
  readout('model', model?.title ?? model?.name ?? '–');
  const unready = model && model.state !== 'ready' && model.state;
  write($('model-more'), model ? joined(unready, model.runtime, model.precision, isNumber(flicker) && `flicker ${fixed(flicker * 100, 1)} %`) : '');
  const note = $('model-note');
  note.hidden = !model?.coarse && !model?.message;
  write(note, joined(model?.coarse && 'coarse built-in model', model?.message));
}

// ---------------------------------------------------------------- the notice over the picture: what is wrong, what to do

const TRY_AGAIN = { button: 'Try now', act: () => viewer.retry() };

function noticeNow() {
  const stream = current();
  const { phase, error } = state.player;
  if (state.tokenNeeded) return { title: 'This streamd asks for a token', text: 'It is one of view_tokens in its configuration.', token: true };
  if (serverGone()) {
    return { title: 'streamd does not answer; trying again', text: 'If it stays away, look at its service:', code: 'systemctl status streamd', busy: true };
  }
  if (state.api && !state.api.streams.length) {
    return { title: 'No streams yet', text: 'Add [streams.NAME] to the configuration, or start one:', code: 'streamd run rtsp://camera.local/stream' };
  }
  if (state.api && !stream) return { title: `There is no stream “${state.stream}”`, text: 'Choose one from the list.' };
  if (state.blocked) return { title: 'Ready', button: 'Play', act: () => video.play() };
  if (phase === 'connected' && state.picture) return null;
  if (phase === 'failed') return { title: 'This stream cannot be played here', text: error.message, ...TRY_AGAIN };
  if (state.pathless > 0) {
    const text = 'The server answers, but the video path (UDP) does not open. A firewall may block it: see udp_ports and advertise under [webrtc].';
    const mjpeg = apiPath(state.stream, `mjpeg?${new URLSearchParams({ view: state.view })}`);
    return { title: 'No video path', text, busy: true, link: 'Open as MJPEG', href: mjpeg, ...TRY_AGAIN };
  }
  if (error) {
    const over = stream && stream.state !== 'running' && { failed: 'has failed', ended: 'has ended' }[stream.state];
    const title = over ? `${state.stream} ${over}` : 'No picture; trying again';
    return { title, text: stream?.reason ?? error.message, busy: !over, ...TRY_AGAIN };
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
  for (const part of ['title', 'text', 'code', 'button', 'link']) {
    const node = $(`notice-${part}`);
    node.hidden = !notice[part];
    write(node, notice[part] ?? '');
  }
  if (notice.href) $('notice-link').href = notice.href;
}

// ---------------------------------------------------------------- hands: buttons, keys, coming and going

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('stage').requestFullscreen) $('stage').requestFullscreen().catch(() => toast('Full screen is not allowed here.'));
  else video.webkitEnterFullscreen?.(); // iPhone
}

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowUp: () => step(-1),
  ArrowRight: () => step(1),
  ArrowDown: () => step(1),
  v: () => stepView(1),
  V: () => stepView(-1),
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
  window.addEventListener('online', () => viewer.retry());
  window.addEventListener('pagehide', () => play(null)); // ends the session at once (DELETE with keepalive)
  window.addEventListener('pageshow', (event) => event.persisted && follow());
}

wire();
follow(); // a link that names its stream connects before the first answer of the API
tick();
