// Whether WebRTC finds a way to this box is the same for all players of a page: what one learns, the others use.
// While it finds none they show Motion JPEG, and one of them tries WebRTC again now and then.

const FIRST_MS = 60_000;
const CAP_MS = 600_000;

/** @import { Player } from './player.js' */

/** @type {string | null} */
let reason = null; // why there is none
let delayMs = FIRST_MS;
/** @type {number | null} */
let timer = null;
/** @type {Set<Player>} */
const fallen = new Set(); // players that do without, oldest first

export const path = {
  get reason() {
    return reason;
  },

  /**
   * This player has found none, or does without because another found none.
   * @param {Player} player
   * @param {string} why
   */
  missing(player, why) {
    reason = why;
    fallen.add(player);
    timer ??= setTimeout(tryAgain, delayMs);
  },

  /** @param {Player} player */
  leave(player) {
    fallen.delete(player);
  },

  /** A session connects: everybody back to WebRTC. */
  found() {
    if (!reason) return;
    reason = null;
    delayMs = FIRST_MS;
    if (timer) clearTimeout(timer);
    timer = null;
    const returning = [...fallen];
    fallen.clear();
    for (const player of returning) player.comeBack();
  },
};

function tryAgain() {
  delayMs = Math.min(delayMs * 2, CAP_MS);
  timer = fallen.size ? setTimeout(tryAgain, delayMs) : null;
  if (!document.hidden) [...fallen].at(-1)?.tryWebRtc();
}
