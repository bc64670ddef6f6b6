// The dialog with a stream in three dimensions. Loaded when it is first asked for: three.js is larger than the page.

/** @import { Look, Stereo } from './space.js' */
/** @import { Page } from './types.js' */

import { $, cloneTemplate, next, part, write } from './dom.js';
import { lensOf } from './geometry.js';
import { tileNotice, writeNotice } from './notice.js';
import { Player } from './player.js';
import { Space } from './space.js';

const SECOND_MS = 1000;
/** @type {Stereo[]} */
const STEREO = ['none', 'anaglyph', 'side-by-side'];

/** Puts the dialog and its style into the page. Raises TypeError when streamd does not answer. */
async function load() {
  if (document.getElementById('space')) return;
  const response = await fetch(new URL('space.html', import.meta.url));
  if (!response.ok) throw new TypeError(`space.html: ${response.status}`);
  const style = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: new URL('space.css', import.meta.url).href });
  const styled = new Promise((done) => { style.onload = style.onerror = done; });
  const html = await response.text();
  document.head.append(style);
  await styled;
  if (!document.getElementById('space')) document.body.insertAdjacentHTML('beforeend', html);
}

/**
 * @param {string} name of the stream
 * @param {Page} page
 */
export async function openSpace(name, page) {
  await load();
  if (!$('space', HTMLDialogElement).open) new SpaceDialog(name, page);
}

class SpaceDialog {
  /** @type {Space | null} */
  #space = null;
  #closing = new AbortController(); // its signal ends what listens

  /**
   * @param {string} name
   * @param {Page} page
   */
  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.dialog = $('space', HTMLDialogElement);
    this.screen = part(this.dialog, '.screen');
    this.canvas = this.#freshCanvas();
    this.notice = part(cloneTemplate('tile'), '.notice');
    this.screen.append(this.notice);
    write($('space-title'), `${name} in 3-D`);
    this.player = new Player(this.screen, page.news.clock, () => { this.#render(); });
    this.player.video.ariaHidden = 'true'; // what the scene is made of
    this.dialog.showModal();
    this.#enter();
    this.#listen();
    this.timer = setInterval(() => void this.#everySecond(), SECOND_MS);
  }

  /** A context that was given back cannot be had again from the same canvas. */
  #freshCanvas() {
    const old = part(this.screen, '.scene', HTMLCanvasElement);
    const canvas = /** @type {HTMLCanvasElement} */ (old.cloneNode());
    this.screen.replaceChildren(canvas);
    canvas.ariaLabel = `${this.name} in three dimensions`;
    return canvas;
  }

  #enter() {
    try {
      if (!document.createElement('canvas').getContext('webgl2')) throw new Error('no WebGL 2');
      this.#space = new Space(this.canvas, {
        picture: () => this.#picture(),
        onHold: () => { this.#set({ wiggle: false }); },
        calm: matchMedia('(prefers-reduced-motion: reduce)').matches,
      });
    } catch {
      const text = 'It needs WebGL 2, which is missing or switched off. All other views work without.';
      writeNotice(this.notice, { title: 'This browser shows no 3-D', text });
      this.#enableTools(false);
      return;
    }
    this.#enableTools(true);
    this.#set({});
    this.canvas.focus();
    this.#wake();
  }

  #picture() {
    const { screen, via } = this.player;
    if (screen.hasVideo) return screen.video;
    return via === 'mjpeg' && !screen.still.hidden ? screen.still : null;
  }

  #listen() {
    const { signal } = this.#closing;
    this.dialog.addEventListener('close', () => { this.#close(); }, { signal });
    this.dialog.addEventListener('keydown', (event) => { this.#keyPressed(event); }, { signal });
    this.dialog.addEventListener('input', ({ target }) => { this.#chosen(target); }, { signal });
    this.#tool('reset', HTMLButtonElement).onclick = () => { this.#reset(); };
    this.canvas.addEventListener('dblclick', () => { this.#reset(); });
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#sleep();
      else this.#wake();
    }, { signal });
    window.addEventListener('pagehide', () => { this.#sleep(); }, { signal });
    window.addEventListener('pageshow', () => { this.#wake(); }, { signal });
  }

  #close() {
    this.#closing.abort();
    clearInterval(this.timer);
    this.player.stop();
    this.#space?.dispose();
    this.screen.replaceChildren(this.canvas); // the old one stands for the next
  }

  #wake() {
    if (!this.#space) return;
    this.#space.start();
    this.player.show({ name: this.name, view: 'rgbd', palette: 'gray', small: false, still: false });
    this.#render();
  }

  /** The session ends, too: nobody looks. */
  #sleep() {
    this.#space?.pause();
    this.player.stop();
  }

  async #everySecond() {
    if (document.hidden) return;
    await this.player.measure();
    this.#render();
  }

  #render() {
    if (!this.#space || this.#closing.signal.aborted) return;
    const { name, player, page } = this;
    const stream = page.news.stream(name);
    this.#space.setLens(lensOf(stream));
    writeNotice(this.notice, tileNotice({ name, stream, player, large: true, live: true, gone: page.news.gone }));
  }

  // --- what can be chosen

  /**
   * @template {HTMLElement} T
   * @param {string} name
   * @param {new () => T} kind
   */
  #tool(name, kind) {
    return part(this.dialog, `[name="${name}"]`, kind);
  }

  /** @param {boolean} enabled */
  #enableTools(enabled) {
    for (const tool of this.dialog.querySelectorAll('.tools [name]')) tool.toggleAttribute('disabled', !enabled);
  }

  /** @param {Partial<Look>} change */
  #set(change) {
    if (!this.#space) return;
    this.#space.show(change);
    const { mesh, size, clip, stereo, wiggle } = this.#space.look;
    this.#tool('shape', HTMLSelectElement).value = mesh ? 'mesh' : 'points';
    this.#tool('size', HTMLInputElement).value = String(size);
    this.#tool('size', HTMLInputElement).disabled = mesh;
    this.#tool('clip', HTMLInputElement).value = String(clip);
    this.#tool('stereo', HTMLSelectElement).value = stereo;
    this.#tool('wiggle', HTMLInputElement).checked = wiggle;
  }

  /** @param {EventTarget | null} target */
  #chosen(target) {
    if (!(target instanceof HTMLInputElement || target instanceof HTMLSelectElement)) return;
    const { name, value } = target;
    if (name === 'shape') this.#set({ mesh: value === 'mesh' });
    if (name === 'size') this.#set({ size: Number(value) });
    if (name === 'clip') this.#set({ clip: Number(value) });
    if (name === 'stereo') this.#set({ stereo: /** @type {Stereo} */ (value) });
    if (name === 'wiggle') this.#set({ wiggle: /** @type {HTMLInputElement} */ (target).checked });
  }

  #reset() {
    this.#set({ wiggle: false });
    this.#space?.reset();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const { key, target } = event;
    const space = this.#space;
    if (!space || event.ctrlKey || event.metaKey || event.altKey) return;
    if (key.startsWith('Arrow') && target !== this.canvas) return; // a slider's
    if (target instanceof HTMLSelectElement) return; // its letters choose
    const { mesh, size, stereo, wiggle } = space.look;
    const turn = event.shiftKey ? space.move.bind(space) : space.turn.bind(space);
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowLeft: () => { turn({ left: 1 }); },
      ArrowRight: () => { turn({ left: -1 }); },
      ArrowUp: () => { turn({ up: 1 }); },
      ArrowDown: () => { turn({ up: -1 }); },
      '+': () => { space.zoomIn(); },
      '=': () => { space.zoomIn(); },
      '-': () => { space.zoomOut(); },
      m: () => { this.#set({ mesh: !mesh }); },
      s: () => { this.#set({ stereo: next(STEREO, stereo) }); },
      w: () => { this.#set({ wiggle: !wiggle }); },
      r: () => { this.#reset(); },
      ']': () => { this.#set({ mesh: false, size: Math.min(size + 0.2, 4) }); },
      '[': () => { this.#set({ mesh: false, size: Math.max(size - 0.2, 0.4) }); },
    };
    const act = acts[key];
    if (!act) return;
    event.preventDefault();
    if (key.startsWith('Arrow') || '+=-'.includes(key)) this.#set({ wiggle: false });
    act();
  }
}
