// What sets a stream up: its camera, its masks and zones, its metres. Who may control sees it.

/** @import { Page } from './types.js' */

import { showAreas, wireAreas } from './areas.js';
import { showCalibrating, wireCalibrating } from './calibrating.js';
import { removeCamera, showCamera, wireCameras } from './cameras.js';
import { Cursor } from './cursor.js';
import { $, toast, write } from './dom.js';

const dialog = () => $('setup', HTMLDialogElement);

export class Setup {
  /** @type {Map<string, string | null>} */
  #lost = new Map(); // why a stream knows no metres any more, as it was told

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.cursor = new Cursor(page);
    wireCameras(() => page.news.answer?.streams.map(({ name }) => name) ?? []);
    wireAreas();
    wireCalibrating();
    $('add-open').onclick = () => { this.add(); };
    $('setup-open').onclick = () => { this.show(); };
    this.#offer('setup-camera', () => { showCamera(this.#stream); });
    this.#offer('setup-areas', () => { if (this.#stream) void showAreas(this.#stream); });
    this.#offer('setup-calibrate', () => { if (this.#stream) void showCalibrating(this.#stream.name); });
    this.#offer('setup-remove', () => { if (this.#stream) void removeCamera(this.#stream.name).then((gone) => { if (gone) location.hash = ''; }); });
  }

  get #mayChange() {
    return this.page.news.session?.access === 'control' && !this.page.news.locked;
  }

  get #stream() {
    const { layout, stream } = this.page.state;
    return layout === 'one' ? this.page.news.stream(stream) : null;
  }

  add() {
    if (this.#mayChange) showCamera(null);
    return this.#mayChange;
  }

  show() {
    if (!this.#mayChange || !this.#stream) return false;
    write($('setup-title'), this.#stream.name);
    dialog().showModal();
    return true;
  }

  render() {
    $('add-open').hidden = !this.#mayChange;
    $('setup-open').hidden = !this.#mayChange || !this.#stream;
    this.cursor.render();
    for (const { name, calibration } of this.page.news.answer?.streams ?? []) {
      const reason = calibration?.calibrated ? null : calibration?.reason ?? null;
      if (reason && this.#lost.has(name) && this.#lost.get(name) !== reason) toast(`${name} knows no metres any more: ${reason}.`);
      this.#lost.set(name, reason);
    }
  }

  /**
   * @param {string} id
   * @param {() => void} act
   */
  #offer(id, act) {
    $(id).onclick = () => {
      dialog().close();
      act();
    };
  }
}
