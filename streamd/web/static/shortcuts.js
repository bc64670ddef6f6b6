// The keyboard. The help dialog is written from this list.

/**
 * What the page does; false when there was nothing to do. `number` gets the key, `step` also whether it goes by rows.
 * @typedef {{
 *   number: (key: string) => boolean,
 *   step: (by: number, rows: boolean) => boolean,
 *   nextView: (by: number) => boolean,
 * } & Record<
 *   'grid' | 'nextPalette' | 'toggleZones' | 'toggleFullScreen' | 'saveSnapshot' | 'toggleRecording' | 'showRecordings' | 'showModels' | 'showSpace' | 'toggleSound' | 'addCamera' | 'setUp' | 'toggleCursor' | 'showHelp',
 *   () => unknown
 * >} Actions
 */

/** @typedef {{key: string, rows: boolean, actions: Actions}} Press */

/**
 * [keys, what is shown for them, what they do, the action].
 * @type {[string[], string, string, (press: Press) => unknown][]}
 */
const SHORTCUTS = [
  [['1', '2', '3', '4', '5', '6', '7', '8', '9'], '1 – 9', 'a stream, large', ({ key, actions }) => actions.number(key)],
  [['ArrowLeft', 'ArrowUp'], '← ↑', 'the one before', ({ rows, actions }) => actions.step(-1, rows)],
  [['ArrowRight', 'ArrowDown'], '→ ↓', 'the next one', ({ rows, actions }) => actions.step(1, rows)],
  [['g', 'Escape'], 'g Esc', 'all streams', ({ actions }) => actions.grid()],
  [['v'], 'v', 'next view', ({ actions }) => actions.nextView(1)],
  [['V'], 'V', 'the view before', ({ actions }) => actions.nextView(-1)],
  [['p'], 'p', 'next palette', ({ actions }) => actions.nextPalette()],
  [['d'], 'd', 'in 3-D', ({ actions }) => actions.showSpace()],
  [['h'], 'h', 'hear what is near', ({ actions }) => actions.toggleSound()],
  [['z'], 'z', 'show or hide zones', ({ actions }) => actions.toggleZones()],
  [['f'], 'f', 'full screen', ({ actions }) => actions.toggleFullScreen()],
  [['s'], 's', 'save a snapshot', ({ actions }) => actions.saveSnapshot()],
  [['r'], 'r', 'start or stop recording', ({ actions }) => actions.toggleRecording()],
  [['l'], 'l', 'list of recordings', ({ actions }) => actions.showRecordings()],
  [['m'], 'm', 'list of models', ({ actions }) => actions.showModels()],
  [['x'], 'x', 'depth at a point: arrows move it', ({ actions }) => actions.toggleCursor()],
  [['c'], 'c', 'set up this camera', ({ actions }) => actions.setUp()],
  [['a'], 'a', 'add a camera', ({ actions }) => actions.addCamera()],
  [['?'], '?', 'this help', ({ actions }) => actions.showHelp()],
];

/** @param {HTMLElement} list a <dl> */
export function listShortcuts(list) {
  for (const [, shown, what] of SHORTCUTS) {
    const keys = document.createElement('dt');
    for (const key of shown.split(' ')) {
      keys.append(key === '–' ? '–' : Object.assign(document.createElement('kbd'), { textContent: key }));
    }
    list.append(keys, Object.assign(document.createElement('dd'), { textContent: what }));
  }
}

/** @param {Actions} actions */
export function listenToKeys(actions) {
  document.addEventListener('keydown', (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector('dialog[open]') || isForTyping(target)) return;
    const [, , , act] = SHORTCUTS.find(([keys]) => keys.includes(key)) ?? [];
    if (act && act({ key, rows: key === 'ArrowUp' || key === 'ArrowDown', actions }) !== false) event.preventDefault();
  });
}

/** @param {EventTarget | null} target */
const isForTyping = (target) => target instanceof Element && target.closest('input, select') !== null;
