// The viewer page: what is shown is in the address, what streams do comes from the News, and render() draws both.
// Text of the API is put in as text, never as markup.

/** @import { Actions } from './shortcuts.js' */
/** @import { Page, PageState, Palette, Shown, View } from './types.js' */

import { DEFAULT_VIEW, VIEWS, pageAddress, parseAddress } from './address.js';
import { News, asApiError, logOut, ofStream } from './api.js';
import { saveSnapshot, showSpace, toggleFullScreen, toggleRecording, toggleSound } from './commands.js';
import { showHelp, wireDialogs, wireLogIn } from './dialogs.js';
import { $, typedKeys, next, toast } from './dom.js';
import { Graph } from './graph.js';
import { renderControls, renderHead, renderSide } from './frame.js';
import { showModels } from './models.js';
import { pageNotice, writeNotice } from './notice.js';
import { PALETTES, installFilters, storePalette, storedPalette } from './palettes.js';
import { estimateLatency, renderModel, renderReadouts } from './readouts.js';
import { showRecordings } from './recordings.js';
import { Setup } from './setup.js';
import { listenToKeys } from './shortcuts.js';
import { Wall } from './tiles.js';

const SECOND_MS = 1000;
const HIDDEN_MS = 30_000; // hidden this long: the sessions end, the pictures stay

/** @type {PageState} */
const state = {
  layout: null, // one or grid
  stream: null, // the large one
  views: new Map(), // of each stream that does not show depth
  palette: storedPalette(),
  zones: true,
};

const news = new News(newsArrived);
/** @type {Page} */
const page = { state, news, render, renderSoon, setView, toggleFullScreen };
const wall = new Wall($('tiles'), page);
const setup = new Setup(page);
const graph = new Graph($('graph', HTMLCanvasElement));

const current = () => (state.layout === 'one' ? news.stream(state.stream) : null);
const names = () => news.answer?.streams.map(({ name }) => name) ?? [];
/** @param {string | null} name */
const selectedView = (name) => state.views.get(name ?? '') ?? DEFAULT_VIEW;
const shownNow = () => `${state.layout ?? ''} ${state.stream ?? ''} ${selectedView(state.stream)}`;

// --- the address decides what is shown

/**
 * @param {Partial<Shown>} change
 * @param {'pushState' | 'replaceState'} how
 */
function go(change, how = 'pushState') {
  history[how](null, '', pageAddress({ ...state, ...change }));
  follow();
}

function follow() {
  const { layout, stream, views } = parseAddress(location.hash);
  const [first, second] = names();
  if (!layout && first !== undefined) {
    go(second === undefined ? { layout: 'one', stream: first } : { layout: 'grid' }, 'replaceState');
    return;
  }
  const before = shownNow();
  // The address of a large one holds no views of the others.
  state.views = layout === 'one' ? new Map([...state.views, ...views]) : views;
  if (stream && !views.has(stream)) state.views.delete(stream);
  Object.assign(state, { layout, stream });
  if (before !== shownNow()) graph.clear();
  render();
}

/**
 * @param {string} name
 * @param {View} view
 */
function setView(name, view) {
  const views = new Map(state.views).set(name, view);
  if (view === DEFAULT_VIEW) views.delete(name);
  go({ views }, 'replaceState');
}

/** @param {Palette} palette */
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
  const view = selectedView(state.stream);
  renderSide(page);
  renderHead(page, stream);
  renderControls(page, stream, view);
  setup.render();
  if (state.layout !== 'one') return;
  const { player } = wall.large ?? {};
  renderReadouts(news.gone ? null : stream, news.gone ? null : player?.measured, player);
  renderModel(news.gone ? null : news.answer?.model, stream?.flicker);
  $('snapshot', HTMLAnchorElement).href = ofStream(state.stream ?? '', '/snapshot', { view, format: 'png' });
}

// --- time passes

let before = { gone: false, locked: false };
/** @type {string | null} */
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
  const { ms } = estimateLatency(stream, wall.large?.player.measured);
  if (stream) graph.add(news.gone ? null : stream.latency_ms?.p50, ms);
  if (!news.locked && wall.tiles.some(({ player }) => player.error?.status === 401)) await news.ask();
  render();
}

/** @type {number | undefined} */
let hiddenTimer;
function visibilityChanged() {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    news.stop();
    hiddenTimer = setTimeout(() => { wall.sleep(); }, HIDDEN_MS);
    return;
  }
  wakeUp();
}

function wakeUp() {
  news.start();
  wall.wake();
  render();
}

async function leave() {
  wall.sleep(); // ends its sessions while it may
  try {
    await logOut();
    news.start();
  } catch (error) {
    toast(asApiError(error).message);
  }
}

// --- hands

/** @type {Actions} */
const actions = {
  number(key) {
    const stream = names()[Number(key) - 1];
    if (stream !== undefined) go({ layout: 'one', stream });
    return stream !== undefined;
  },
  step(by, rows) {
    if (state.layout === 'one' && names().length < 2) return false;
    if (state.layout === 'one') go({ stream: next(names(), state.stream ?? '', by) });
    else wall.step(by, rows);
    return true;
  },
  grid() {
    if (state.layout !== 'one' || names().length < 2) return false;
    const { link } = wall.large ?? {};
    go({ layout: 'grid' });
    link?.focus(); // where the eye was
    return true;
  },
  nextView(by) {
    if (state.layout !== 'one' || !state.stream) return false;
    const views = typedKeys(VIEWS).filter((view) => (current()?.views ?? [view]).includes(view));
    setView(state.stream, next(views, selectedView(state.stream), by));
    return true;
  },
  nextPalette() {
    setPalette(next(typedKeys(PALETTES), state.palette));
    toast(`Palette: ${PALETTES[state.palette]}`);
  },
  toggleZones() {
    if ($('zones').hidden) return false;
    state.zones = !state.zones;
    render();
    return true;
  },
  toggleFullScreen,
  saveSnapshot() {
    if (state.layout !== 'one' || !state.stream) return false;
    void saveSnapshot(state.stream, selectedView(state.stream), state.palette);
    return true;
  },
  toggleRecording() {
    const stream = current();
    if (stream) void toggleRecording(stream, selectedView(stream.name), () => void news.ask().then(render));
    return stream !== null;
  },
  showRecordings: () => void showRecordings(news.session?.access === 'control', state.stream),
  showModels: () => void showModels(news.session?.access === 'control'),
  showSpace() {
    const name = state.layout === 'one' ? state.stream : wall.focused;
    if (name) void showSpace(name, page);
    return Boolean(name);
  },
  toggleSound() {
    if (state.layout !== 'one') return false;
    void toggleSound(page, () => wall.large?.player ?? null);
    return true;
  },
  addCamera: () => setup.add(),
  setUp: () => setup.show(),
  toggleCursor: () => setup.cursor.toggle(),
  showHelp,
};

/** @param {View} view */
function viewButton(view) {
  const button = document.createElement('button');
  Object.assign(button.dataset, { view, testid: `view-${view}` });
  button.textContent = VIEWS[view];
  button.onclick = () => {
    if (state.stream) setView(state.stream, view);
  };
  return button;
}

function wireControls() {
  $('views').append(...typedKeys(VIEWS).map(viewButton));
  const palettes = $('palette', HTMLSelectElement);
  palettes.append(...typedKeys(PALETTES).map((palette) => new Option(PALETTES[palette], palette)));
  palettes.onchange = () => { setPalette(/** @type {Palette} */ (palettes.value)); };
  $('full').onclick = toggleFullScreen;
  $('zones').onclick = actions.toggleZones;
  $('record').onclick = actions.toggleRecording;
  $('back').onclick = actions.grid;
  $('listen-toggle').onclick = actions.toggleSound;
  $('in-space').onclick = actions.showSpace;
  $('help-open').onclick = showHelp;
  $('recordings-open').onclick = actions.showRecordings;
  $('models-open').onclick = actions.showModels;
  $('snapshot').onclick = (event) => {
    event.preventDefault();
    actions.saveSnapshot();
  };
  $('log-out').onclick = () => void leave();
}

function wire() {
  wireControls();
  wireLogIn($('log-in'), wakeUp);
  wireDialogs();
  listenToKeys(actions);
  document.addEventListener('visibilitychange', visibilityChanged);
  window.addEventListener('hashchange', follow);
  window.addEventListener('popstate', follow);
  window.addEventListener('resize', () => { graph.draw(); });
  window.addEventListener('pagehide', () => { wall.sleep(); }); // ends the sessions at once (DELETE with keepalive)
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) wakeUp();
  });
}

installFilters();
wire();
if (document.hidden) wall.sleep(); // opened in the background: nobody looks yet
follow(); // a link that names its stream connects at once
news.start();
setInterval(() => void everySecond(), SECOND_MS);
