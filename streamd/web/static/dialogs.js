// What opens over the page: the help, the list of recordings, and the form that asks for a token.

import { ApiError, logIn } from './api.js';
import { $, write } from './dom.js';
import { wireRecordings } from './recordings.js';
import { listShortcuts } from './shortcuts.js';

export function wireDialogs() {
  listShortcuts($('keys'));
  wireRecordings();
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close()); // beside it
  }
}

export const showHelp = () => $('help').showModal();

// --- the token

/** onIn() after a token was taken. */
export function wireLogIn(form, onIn) {
  const [input] = form.querySelectorAll('input');
  const button = form.querySelector('button');
  const note = form.querySelector('.form-note');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    write(note, '');
    try {
      await logIn(input.value.trim());
      input.value = '';
      onIn();
    } catch (error) {
      write(note, refusal(error));
      input.select();
    } finally {
      button.disabled = false;
    }
  });
}

function refusal(error) {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 401 || error.status === 403) return 'That is not one of its tokens.';
  if (error.status === 429) return `Too many tries. Again in ${Math.ceil((error.retryAfterMs ?? 10_000) / 1000)} s.`;
  return error.message;
}
