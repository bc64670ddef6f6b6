// The pictures of all streams: a tile each, that shows live video while it is looked at, alone or among the others.

/** @import { Page, PageState, Stream, View } from './types.js' */

import { DEFAULT_VIEW, VIEWS, pageAddress } from './address.js';
import { showSpace } from './commands.js';
import { cloneTemplate, fixed, joined, typedKeys, part, write } from './dom.js';
import { isOver, sleeps, tileNotice, writeNotice } from './notice.js';
import { Player } from './player.js';
import { ZoneOverlay } from './zones.js';

const MAX_LIVE = 9; // more at once is more than a browser decodes well; the rest are stills
const GRACE_MS = 8000; // out of sight this long: its session ends

export class Wall {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  #observer = new IntersectionObserver((entries) => { this.#seen(entries); }, { rootMargin: '80px' });
  #asleep = false;

  /**
   * @param {HTMLElement} container
   * @param {Page} page its state is what is wanted
   */
  constructor(container, page) {
    this.container = container;
    this.page = page;
  }

  get large() {
    const { layout, stream } = this.page.state;
    return layout === 'one' && stream ? this.#tiles.get(stream) ?? null : null;
  }

  get tiles() {
    return [...this.#tiles.values()];
  }

  /** The stream of the tile that has the focus. */
  get focused() {
    return this.tiles.find(({ element }) => element.contains(document.activeElement))?.name ?? null;
  }

  get withoutWebRtc() {
    return this.tiles.some(({ player }) => player.via === 'mjpeg');
  }

  /** Bring tiles and players in line with the streams that there are and with what is to be shown. */
  update() {
    this.#arrange();
    const live = this.#chooseLive();
    for (const tile of this.tiles) {
      tile.place(this.page.state);
      tile.follow(this.#asleep ? null : live.has(tile), this.page.state, this.page.news.stream(tile.name));
      tile.render(this.page);
    }
    this.container.dataset.layout = this.page.state.layout ?? '';
    this.container.dataset.count = String(Math.min(this.tiles.length, 5));
  }

  measure() {
    return Promise.all(this.tiles.map((tile) => tile.player.measure()));
  }

  /** Let everything go: the page is hidden, or leaves. */
  sleep() {
    this.#asleep = true;
    for (const tile of this.tiles) tile.stop();
  }

  wake() {
    this.#asleep = false;
    for (const { player } of this.tiles) player.awake();
  }

  serverReturned() {
    for (const { player } of this.tiles) player.restart();
  }

  /**
   * Move the focus among the tiles: by one, or by a row.
   * @param {number} by
   * @param {boolean} rows
   */
  step(by, rows) {
    const links = this.tiles.map((tile) => tile.link);
    const columns = getComputedStyle(this.container).gridTemplateColumns.split(' ').length;
    const at = links.findIndex((link) => link === document.activeElement?.closest('.tile')?.querySelector('.open'));
    const to = at < 0 ? 0 : at + by * (rows ? columns : 1);
    links[to]?.focus();
  }

  #arrange() {
    const { answer } = this.page.news;
    const { stream } = this.page.state;
    const names = answer ? answer.streams.map(({ name }) => name) : stream ? [stream] : [];
    for (const [name, tile] of this.#tiles) {
      if (names.includes(name)) continue;
      tile.stop();
      this.#observer.unobserve(tile.element);
      tile.element.remove();
      this.#tiles.delete(name);
    }
    this.#tiles = new Map(names.map((name) => [name, this.#tiles.get(name) ?? this.#add(name)]));
    this.tiles.forEach(({ element }, i) => {
      const there = this.container.children[i] ?? null;
      if (there !== element) this.container.insertBefore(element, there);
    });
  }

  /** @param {string} name */
  #add(name) {
    const tile = new Tile(name, this.page);
    this.#observer.observe(tile.element);
    return tile;
  }

  #chooseLive() {
    const { large } = this;
    if (large) return new Set([large]);
    const eligible = this.tiles.filter((tile) => tile.visible && tile.mayPlay(this.page.news.stream(tile.name)));
    const playing = eligible.filter((tile) => tile.live);
    return new Set([...playing, ...eligible.filter((tile) => !tile.live)].slice(0, MAX_LIVE));
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const tile = this.tiles.find(({ element }) => element === target);
      if (tile) tile.visible = isIntersecting;
    }
    this.page.render();
  }
}

class Tile {
  visible = false;
  live = false;
  large = false;
  /** @type {number | null} */
  #leaving = null;
  /** @type {string | null} */
  #state = null;

  /**
   * @param {string} name
   * @param {Page} page
   */
  constructor(name, page) {
    this.name = name;
    this.element = cloneTemplate('tile');
    this.element.dataset.name = name;
    this.element.dataset.testid = `tile-${name}`;
    this.screen = part(this.element, '.screen');
    this.link = part(this.element, '.open', HTMLAnchorElement);
    this.notice = part(this.element, '.notice');
    this.via = part(this.element, '.via');
    this.button = part(this.via, 'button', HTMLButtonElement);
    this.select = part(this.element, 'select', HTMLSelectElement);
    this.player = new Player(this.screen, page.news.clock, () => { page.renderSoon(); });
    this.zones = new ZoneOverlay(this.screen);
    part(this.element, 'b').textContent = name;
    this.link.ariaLabel = `Show ${name} large`;
    this.select.ariaLabel = `View of ${name}`;
    this.select.onchange = () => { page.setView(name, /** @type {View} */ (this.select.value)); };
    this.screen.ondblclick = () => {
      if (this.large) page.toggleFullScreen();
    };
    this.button.onclick = () => { this.player.tryWebRtc(); };
    const inSpace = part(this.element, '.in-space', HTMLButtonElement);
    inSpace.ariaLabel = `${name} in 3-D`;
    inSpace.onclick = () => void showSpace(name, page);
  }

  /**
   * Whether the grid may play it: a stream on demand is not woken by being listed.
   * @param {Stream | null} stream
   */
  mayPlay(stream) {
    if (!stream || sleeps(stream)) return false;
    return !isOver(stream) || this.live;
  }

  /** @param {PageState} state */
  place({ layout, stream, views }) {
    this.large = layout === 'one' && stream === this.name;
    this.element.classList.toggle('large', this.large);
    this.element.hidden = layout === 'one' && !this.large;
    this.link.hidden = this.large;
    this.link.href = pageAddress({ layout: 'one', stream: this.name, views });
    if (this.large) this.player.video.dataset.testid = 'video';
    else delete this.player.video.dataset.testid;
  }

  /**
   * @param {boolean | null} live play; a still for what is in sight but beyond the number; null to stop at once
   * @param {PageState} state
   * @param {Stream | null} stream
   */
  follow(live, { views, palette }, stream) {
    const view = views.get(this.name) ?? DEFAULT_VIEW;
    this.live = Boolean(live);
    const silent = stream !== null && stream.state !== 'running';
    const wanted = { name: this.name, view, palette, small: !this.large, still: false, silent };
    if (this.#state !== 'running' && stream?.state === 'running') this.player.retry();
    this.#state = stream?.state ?? null;
    if (live && isOver(stream) && !this.player.shows) {
      this.stop(); // nothing to ask for, until its state changes
    } else if (live) {
      this.#stay();
      this.player.show(wanted);
    } else if (live === null) {
      this.stop();
    } else if (this.visible && !this.element.hidden && !silent && !sleeps(stream)) {
      this.#stay();
      this.player.show({ ...wanted, still: true });
    } else if (sleeps(stream)) {
      this.stop(); // streamd itself waits a little, should somebody come back
    } else if (this.player.via) {
      this.#leaving ??= setTimeout(() => { this.stop(); }, GRACE_MS);
    }
  }

  stop() {
    this.#stay();
    this.player.stop();
  }

  #stay() {
    if (this.#leaving) clearTimeout(this.#leaving);
    this.#leaving = null;
  }

  /** @param {Page} page */
  render(page) {
    const { name, player, large, live } = this;
    const stream = page.news.stream(name);
    const { gone } = page.news;
    const shows = player.shows || (player.via === 'stills' && player.picture);
    this.zones.show(shows && !gone ? stream : null, page.state.views.get(name) ?? DEFAULT_VIEW, page.state.zones);
    writeNotice(this.notice, tileNotice({ name, stream, player, large, live, gone }));
    const word = gone ? 'no answer' : stream?.state ?? '';
    part(this.element, '.dot').dataset.state = word;
    const rate = stream?.state === 'running' ? `${fixed(stream.fps_out, 0)} fps` : word;
    write(part(this.element, '.detail'), joined(' · ', rate, stream?.recording && 'recording'));
    this.link.title = stream?.reason ?? '';
    this.#renderViews(stream?.views ?? typedKeys(VIEWS), page.state.views.get(name) ?? DEFAULT_VIEW);
    this.#renderVia();
    player.video.ariaLabel = `${name}, live video`;
  }

  /** How the picture comes, when it is not by WebRTC. */
  #renderVia() {
    const { player, large } = this;
    this.via.hidden = player.via !== 'mjpeg' || (!large && !player.picture);
    write(part(this.via, 'span'), large ? `Motion JPEG: ${player.reason ?? ''}` : 'Stills');
    this.button.disabled = player.trying;
    write(this.button, player.trying ? 'Trying WebRTC …' : large ? 'Try WebRTC again' : 'Try WebRTC');
  }

  /**
   * @param {View[]} views
   * @param {View} view
   */
  #renderViews(views, view) {
    const { select } = this;
    if (select.options.length !== views.length) {
      select.replaceChildren(...views.map((key) => new Option(VIEWS[key], key)));
    }
    if (select.value !== view) select.value = view;
  }
}
