// What opens over the page: the help, the lists of recordings and models, and the form that asks for a token.

/** @import { ApiError } from './api.js' */

import { asApiError, logIn } from './api.js';
import { $, part, write } from './dom.js';
import { wireModels } from './models.js';
import { wireRecordings } from './recordings.js';
import { listShortcuts } from './shortcuts.js';

export function wireDialogs() {
  listShortcuts($('keys'));
  wireRecordings();
  wireModels();
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    });
  }
}

export function showHelp() {
  $('help', HTMLDialogElement).showModal();
}

// --- the token

/**
 * @param {HTMLElement} form
 * @param {() => void} onIn called after a token was taken
 */
export function wireLogIn(form, onIn) {
  const input = part(form, '#token', HTMLInputElement);
  const button = part(form, 'button', HTMLButtonElement);
  const note = part(form, '.form-note');
  const submit = async () => {
    button.disabled = true;
    write(note, '');
    try {
      await logIn(input.value.trim());
      input.value = '';
      onIn();
    } catch (error) {
      write(note, refusal(asApiError(error)));
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void submit();
  });
}

/** @param {ApiError} error */
function refusal(error) {
  if (error.status === 401 || error.status === 403) return 'That is not one of its tokens.';
  if (error.status === 429) return `Too many tries. Again in ${Math.ceil((error.retryAfterMs ?? 10_000) / 1000)} s.`;
  return error.message;
}
