// The viewer page: what is shown is in the address, what streams do comes from the News, and render() draws both.
// What the API says is put in as text, never as markup.

import { DEFAULT_VIEW, VIEWS, addressOf, parseAddress } from './address.js';
import { News, logOut, ofStream } from './api.js';
import { saveSnapshot, toggleFullScreen, toggleRecording } from './commands.js';
import { showHelp, wireDialogs, wireLogIn } from './dialogs.js';
import { $, next, toast } from './dom.js';
import { Graph } from './graph.js';
import { renderControls, renderHead, renderSide } from './frame.js';
import { pageNotice, writeNotice } from './notice.js';
import { PALETTES, installFilters, storePalette, storedPalette } from './palettes.js';
import { latencyOf, renderModel, renderReadouts } from './readouts.js';
import { showRecordings } from './recordings.js';
import { listenToKeys } from './shortcuts.js';
import { Wall } from './tiles.js';

const SECOND_MS = 1000;
const HIDDEN_MS = 30_000; // hidden this long: the sessions end, the pictures stay

const state = {
  layout: null, // one or grid
  stream: null, // the large one
  views: new Map(), // of each stream that does not show depth
  palette: storedPalette(),
};

const news = new News(newsArrived);
const page = { state, news, render, renderSoon, setView, toggleFullScreen };
const wall = new Wall($('tiles'), page);
const graph = new Graph($('graph'));

const current = () => (state.layout === 'one' ? news.stream(state.stream) : null);
const names = () => news.answer?.streams.map(({ name }) => name) ?? [];
const viewOf = (name) => state.views.get(name) ?? DEFAULT_VIEW;

// --- the address decides what is shown

function go(change, how = 'pushState') {
  history[how](null, '', addressOf({ ...state, ...change }));
  follow();
}

function follow() {
  const told = parseAddress(location.hash);
  if (!told.layout && names().length) {
    const one = names().length === 1;
    return go(one ? { layout: 'one', stream: names()[0] } : { layout: 'grid' }, 'replaceState');
  }
  const shown = `${state.layout} ${state.stream} ${viewOf(state.stream)}`;
  // The address of a large one says nothing of the others.
  state.views = told.layout === 'one' ? new Map([...state.views, ...told.views]) : told.views;
  if (told.layout === 'one' && !told.views.has(told.stream)) state.views.delete(told.stream);
  Object.assign(state, { layout: told.layout, stream: told.stream });
  if (shown !== `${state.layout} ${state.stream} ${viewOf(state.stream)}`) graph.clear();
  render();
}

function setView(name, view) {
  const views = new Map(state.views).set(name, view);
  if (view === DEFAULT_VIEW) views.delete(name);
  go({ views }, 'replaceState');
}

function setPalette(palette) {
  state.palette = palette;
  storePalette(palette);
  render();
}

// --- drawing

let soon = false;
function renderSoon() {
  if (soon) return;
  soon = true;
  queueMicrotask(() => {
    soon = false;
    render();
  });
}

function render() {
  const notice = pageNotice(news, state.layout === 'one' ? state.stream : null);
  if (news.locked) wall.sleep();
  wall.update();
  news.frugal = wall.withoutWebRtc;
  writeNotice($('notice'), notice);
  $('log-in').hidden = !notice?.form;
  document.body.dataset.layout = state.layout ?? 'none';
  const stream = current();
  const view = viewOf(state.stream);
  renderSide(page);
  renderHead(page, stream);
  renderControls(page, stream, view);
  if (state.layout !== 'one') return;
  const { player } = wall.large ?? {};
  renderReadouts(news.gone ? null : stream, news.gone ? null : player?.measured, player);
  renderModel(news.gone ? null : news.answer?.model, stream?.flicker);
  $('snapshot').href = ofStream(state.stream, '/snapshot', { view, format: 'png' });
}

// --- time passes

let before = { gone: false, locked: false };
let version = null;
function newsArrived() {
  const { gone, locked } = news;
  if (before.gone && !gone) wall.serverReturned();
  if (before.locked && !locked) wall.wake();
  before = { gone, locked };
  const now = news.answer?.version;
  if (version && now && now !== version) toast(`streamd is now version ${now}: reload the page to match it.`);
  version = now ?? version;
  follow();
}

async function everySecond() {
  if (document.hidden) return;
  await wall.measure();
  const stream = current();
  const { ms } = latencyOf(stream, wall.large?.player.measured);
  if (stream) graph.add(news.gone ? null : stream.latency_ms?.p50, ms);
  if (!news.locked && wall.tiles.some(({ player }) => player.error?.status === 401)) await news.ask();
  render();
}

let hiddenTimer;
function visibilityChanged() {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    news.stop();
    hiddenTimer = setTimeout(() => wall.sleep(), HIDDEN_MS);
    return;
  }
  wakeUp();
}

function wakeUp() {
  news.start();
  wall.wake();
  render();
}

function leave() {
  wall.sleep(); // ends its sessions while it may
  logOut().then(() => news.start(), (error) => toast(error.message));
}

// --- hands

const actions = {
  number: (key) => names()[key - 1] && go({ layout: 'one', stream: names()[key - 1] }),
  step(by, rows) {
    if (state.layout !== 'one') return wall.step(by, rows);
    if (names().length < 2) return false;
    go({ stream: next(names(), state.stream, by) });
  },
  grid() {
    if (state.layout !== 'one' || names().length < 2) return false;
    const { link } = wall.large ?? {};
    go({ layout: 'grid' });
    link?.focus(); // where the eye was
  },
  nextView(by) {
    if (state.layout !== 'one') return false;
    const views = Object.keys(VIEWS).filter((view) => (current()?.views ?? [view]).includes(view));
    setView(state.stream, next(views, viewOf(state.stream), by));
  },
  nextPalette() {
    setPalette(next(Object.keys(PALETTES), state.palette));
    toast(`Palette: ${PALETTES[state.palette]}`);
  },
  toggleFullScreen,
  saveSnapshot: () => state.layout === 'one' && saveSnapshot(state.stream, viewOf(state.stream), state.palette),
  toggleRecording: () => current() && toggleRecording(current(), viewOf(state.stream), () => news.ask().then(render)),
  showRecordings: () => showRecordings(news.session?.access === 'control'),
  showHelp,
};

function wire() {
  for (const [view, title] of Object.entries(VIEWS)) {
    const button = document.createElement('button');
    Object.assign(button.dataset, { view, testid: `view-${view}` });
    button.textContent = title;
    button.onclick = () => setView(state.stream, view);
    $('views').append(button);
  }
  $('palette').append(...Object.entries(PALETTES).map(([palette, title]) => new Option(title, palette)));
  $('palette').onchange = ({ target }) => setPalette(target.value);
  $('full').onclick = toggleFullScreen;
  $('record').onclick = actions.toggleRecording;
  $('back').onclick = actions.grid;
  $('help-open').onclick = showHelp;
  $('recordings-open').onclick = actions.showRecordings;
  $('snapshot').onclick = (event) => {
    event.preventDefault();
    actions.saveSnapshot();
  };
  $('log-out').onclick = leave;
  wireLogIn($('log-in'), wakeUp);
  wireDialogs();
  listenToKeys(actions);
  document.addEventListener('visibilitychange', visibilityChanged);
  window.addEventListener('hashchange', follow);
  window.addEventListener('popstate', follow);
  window.addEventListener('resize', () => graph.draw());
  window.addEventListener('pagehide', () => wall.sleep()); // ends the sessions at once (DELETE with keepalive)
  window.addEventListener('pageshow', (event) => event.persisted && wakeUp());
}

installFilters();
wire();
if (document.hidden) wall.sleep(); // opened in the background: nobody looks yet
follow(); // a link that names its stream connects at once
news.start();
setInterval(everySecond, SECOND_MS);
