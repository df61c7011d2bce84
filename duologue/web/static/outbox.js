/**
 * Messages on their way. Each has its own name, under which it can be sent again without being doubled, and
 * stays here until the server has confirmed it; kept in the tab's storage, so that a reload loses none.
 *
 * An item: {client_message_id, dialogue: string | null, content, opening, state, error, at}. States: 'queued' (to be sent when
 * there is a connection) · 'sent' (confirmed; its event is to come) · 'failed' (refused: for the person to decide).
 */

const KEY = 'duologue.outbox';

/** A random name. `crypto.randomUUID` exists in secure contexts only, `getRandomValues` everywhere. */
export function newName() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Outbox {
  constructor(storage = sessionStorage) {
    this.storage = storage;
    this.items = this.load();
  }

  load() {
    try {
      const items = JSON.parse(this.storage.getItem(KEY) ?? '[]');
      return items.map((item) => (item.state === 'sent' ? { ...item, state: 'queued' } : item));
    } catch {
      return [];
    }
  }

  /** Queue a message. `dialogue` is null where it will begin a new one. */
  add(dialogue, content, opening = null) {
    const item = { client_message_id: newName(), dialogue, content, opening, state: 'queued', error: null, at: Date.now() };
    this.set([...this.items, item]);
    return item;
  }

  update(name, change) {
    this.set(this.items.map((item) => (item.client_message_id === name ? { ...item, ...change } : item)));
  }

  remove(name) {
    this.set(this.items.filter((item) => item.client_message_id !== name));
  }

  /** Forget what the dialogue's own messages already show. */
  settle(dialogue, messages) {
    const seen = new Set(messages.map((message) => message.client_message_id));
    const left = this.items.filter((item) => item.dialogue !== dialogue || !seen.has(item.client_message_id));
    if (left.length < this.items.length) this.set(left);
  }

  get(name) {
    return this.items.find((item) => item.client_message_id === name);
  }

  of(dialogue) {
    return this.items.filter((item) => item.dialogue === dialogue);
  }

  nextQueued() {
    return this.items.find((item) => item.state === 'queued');
  }

  set(items) {
    this.items = items;
    try {
      this.storage.setItem(KEY, JSON.stringify(items));
    } catch {
      // A full or forbidden storage costs only the survival of a reload.
    }
  }
}
