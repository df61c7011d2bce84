/** HTTP requests of the page, and where the server is. */

import { WireError } from './errors.js';

const TOKEN = 'duologue.token';

/** The token for this tab, or null. It leaves with the tab. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

// Relative to the page, so that the application may be mounted under any path.
const base = new URL('.', location.href);

export function socketUrl() {
  const url = new URL('v1/socket', base);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

async function request(path) {
  const bearer = token.get();
  const headers = bearer === null ? {} : { authorization: `Bearer ${bearer}` };
  let response;
  let body;
  try {
    response = await fetch(new URL(path, base), { headers, cache: 'no-store' });
    body = await response.json();
  } catch {
    throw new WireError({ code: response ? 'internal' : 'unreachable', retryable: true });
  }
  // Which token was refused: by the time that the answer is here there may be another one.
  if (!response.ok) throw Object.assign(new WireError({ code: 'internal', ...body.error }), { bearer });
  return body;
}

/** A page of the list of dialogues, newest first: {dialogues, before}. */
export function listDialogues(before = null) {
  return request(before === null ? 'v1/dialogues' : `v1/dialogues?before=${encodeURIComponent(before)}`);
}

/** Older messages of a dialogue, in order: {messages, before}. */
export function olderMessages(dialogue, before) {
  return request(`v1/dialogues/${encodeURIComponent(dialogue)}/messages?before=${encodeURIComponent(before)}&limit=50`);
}
