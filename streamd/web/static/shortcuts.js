// The keyboard. The help dialog is written from this list.

/** [keys, what is shown for them, what they do, name of the page's action, its arguments]. */
const SHORTCUTS = [
  [['1', '2', '3', '4', '5', '6', '7', '8', '9'], '1 – 9', 'a stream, large', 'number'],
  [['ArrowLeft', 'ArrowUp'], '← ↑', 'the one before', 'step', -1],
  [['ArrowRight', 'ArrowDown'], '→ ↓', 'the next one', 'step', 1],
  [['g', 'Escape'], 'g Esc', 'all streams', 'grid'],
  [['v'], 'v', 'next view', 'nextView', 1],
  [['V'], 'V', 'the view before', 'nextView', -1],
  [['p'], 'p', 'next palette', 'nextPalette'],
  [['f'], 'f', 'full screen', 'toggleFullScreen'],
  [['s'], 's', 'save a snapshot', 'saveSnapshot'],
  [['r'], 'r', 'start or stop recording', 'toggleRecording'],
  [['l'], 'l', 'list of recordings', 'showRecordings'],
  [['?'], '?', 'this help', 'showHelp'],
];

export function listShortcuts(list) {
  for (const [, shown, what] of SHORTCUTS) {
    const keys = document.createElement('dt');
    for (const key of shown.split(' ')) {
      keys.append(key === '–' ? '–' : Object.assign(document.createElement('kbd'), { textContent: key }));
    }
    list.append(keys, Object.assign(document.createElement('dd'), { textContent: what }));
  }
}

/** `actions` has a function for each name above; number() gets the key, step() also whether it goes by rows. */
export function listenToKeys(actions) {
  document.addEventListener('keydown', (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector('dialog[open]') || target.closest?.('input, select')) return;
    const [, , , name, argument = key] = SHORTCUTS.find(([keys]) => keys.includes(key)) ?? [];
    if (!name) return;
    if (actions[name](argument, key === 'ArrowUp' || key === 'ArrowDown') !== false) event.preventDefault();
  });
}
