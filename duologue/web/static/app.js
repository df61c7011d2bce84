/**
 * The page's own rules: which dialogue is on show, what is on its way, and what to do with each event.
 *
 * Holds the state and no element; `onChange` tells the page to look again.
 */

import { olderMessages } from './api.js';
import { apply, emptyDialogue, expectTurn, isGenerating, prepend } from './dialogue.js';
import { entriesOf } from './entries.js';
import { sentence } from './errors.js';
import { hashOf, memory, readRoute } from './memory.js';
import { Outbox } from './outbox.js';

const SLOW_MS = 800;
// Errors after which a message stays on its way: a new connection, or a token, is what it waits for.
const WAIT = new Set(['disconnected', 'no_answer', 'not_authenticated', 'draining', 'moved']);

export class App {
  /**
   * @param {object} options
   * @param {object} options.opening What new dialogues are opened with: {feature, section?, account?}.
   * @param {() => void} options.onChange Something to show has changed.
   * @param {(event: object) => void} options.onEvent An event was applied; for announcements.
   * @param {(words: string) => void} options.onTrouble Something failed that no message stands for.
   */
  constructor({ opening, onChange, onEvent, onTrouble }) {
    Object.assign(this, { opening, onChange, onEvent, onTrouble });
    this.outbox = new Outbox();
    this.route = { mode: 'new', id: null };
    this.dialogue = emptyDialogue();
    this.missing = null;
    // Set by the page; the two know each other.
    this.connection = null;
    this.flushing = false;
    this.fromMemory = false;
    this.loadingOlder = false;
  }

  // ── which dialogue ────────────────────────────────────────────────────────────────────────────────────────

  /** Show what the address asks for. */
  followAddress() {
    let route = readRoute();
    this.fromMemory = route.mode === 'any';
    if (route.mode === 'any') route = memory.last === null ? { mode: 'new', id: null } : { mode: 'chat', id: memory.last };
    if (this.fromMemory && route.id !== null) history.replaceState(null, '', hashOf(route));
    this.show(route);
  }

  /** Show another dialogue and put it into the address. */
  go(route) {
    if (hashOf(route) !== location.hash) history.pushState(null, '', hashOf(route));
    this.fromMemory = false;
    this.show(route);
  }

  show(route) {
    if (route.id !== this.route.id || this.missing !== null) {
      if (this.route.id !== null) this.connection.unwatch(this.route.id);
      this.dialogue = emptyDialogue(route.id);
      this.dropConfirmed();
      if (route.id !== null) this.connection.watch(route.id);
    }
    this.route = route;
    this.missing = null;
    if (route.mode === 'chat') {
      memory.last = route.id;
      memory.takePart(route.id);
    }
    this.onChange();
  }

  get watching() {
    return this.route.mode === 'watch';
  }

  get busy() {
    return isGenerating(this.dialogue);
  }

  /** Whether a message of this dialogue is on its way. */
  get sending() {
    return this.outbox.of(this.route.id).some(({ state }) => state !== 'failed');
  }

  entries() {
    const now = Date.now();
    const items = this.watching ? [] : this.outbox.of(this.route.id);
    const entries = entriesOf(this.dialogue, items, { watching: this.watching });
    for (const entry of entries) entry.slow = now - (this.outbox.get(entry.name)?.at ?? now) > SLOW_MS;
    return entries;
  }

  // ── what comes ────────────────────────────────────────────────────────────────────────────────────────────

  received(id, event) {
    if (id !== this.route.id) return;
    const before = this.dialogue;
    this.dialogue = apply(before, event);
    if (this.dialogue === before) return;
    if (this.dialogue.broken) {
      this.dialogue = { ...before, broken: false };
      this.connection.refresh(id);
      return;
    }
    this.outbox.settle(id, this.dialogue.messages);
    if (event.event === 'dialogue.snapshot') this.dropConfirmed();
    this.onEvent(event);
    this.onChange();
  }

  refused(id, error) {
    if (id !== this.route.id) return;
    this.connection.unwatch(id);
    if (this.fromMemory && error.code === 'not_found') {
      memory.last = null;
      this.go({ mode: 'new', id: null });
      return;
    }
    this.missing = sentence(error);
    this.onChange();
  }

  connected() {
    this.flush();
    this.onChange();
  }

  async loadOlder() {
    const { id, before } = this.dialogue;
    if (before === null || this.loadingOlder) return;
    this.loadingOlder = true;
    try {
      const page = await olderMessages(id, before);
      if (this.dialogue.id !== id || this.dialogue.before !== before) return;
      this.dialogue = prepend(this.dialogue, page);
      this.onChange({ grewAbove: true });
    } catch (error) {
      this.onTrouble(`Older messages can’t be had. ${sentence(error)}`);
      this.dialogue = { ...this.dialogue, before: this.dialogue.id === id ? null : this.dialogue.before };
      this.onChange();
    } finally {
      this.loadingOlder = false;
    }
  }

  // ── what goes ─────────────────────────────────────────────────────────────────────────────────────────────

  send(content) {
    this.outbox.add(this.route.id, content.toWellFormed?.() ?? content, this.opening);
    setTimeout(() => this.onChange(), SLOW_MS + 50);
    this.onChange();
    this.flush();
  }

  resend(name) {
    this.outbox.update(name, { state: 'queued', error: null });
    this.onChange();
    this.flush();
  }

  discard(name) {
    this.outbox.remove(name);
    this.onChange();
  }

  /** Send what is queued, one after the other, as long as there is a connection. */
  async flush() {
    if (this.flushing) return;
    this.flushing = true;
    try {
      for (let item = this.outbox.nextQueued(); item && this.connection.state.name === 'open';) {
        if (!(await this.deliver(item.client_message_id))) break;
        item = this.outbox.nextQueued();
      }
    } finally {
      this.flushing = false;
    }
  }

  /** Send one message; false when it has to wait. */
  async deliver(name) {
    try {
      const dialogue = this.outbox.get(name).dialogue ?? (await this.open(name));
      const { content } = this.outbox.get(name);
      const fields = { dialogue, content, client_message_id: name };
      this.confirmed(name, dialogue, await this.connection.call('send', fields));
      return true;
    } catch (error) {
      if (WAIT.has(error.code)) return false;
      this.outbox.update(name, { state: 'failed', error: { code: error.code, message: error.message, category: error.category } });
      this.onChange();
      return true;
    }
  }

  /** Open the dialogue that a first message begins. */
  async open(name) {
    const { dialogue } = await this.connection.call('open', this.outbox.get(name).opening);
    for (const item of this.outbox.of(null)) this.outbox.update(item.client_message_id, { dialogue });
    if (this.route.id === null) {
      history.replaceState(null, '', hashOf({ mode: 'chat', id: dialogue }));
      this.show({ mode: 'chat', id: dialogue });
    } else memory.takePart(dialogue);
    return dialogue;
  }

  /** The server has the message. Its event may be here already, be on its way, or belong to a dialogue not on show. */
  confirmed(name, dialogue, { turn_id: turn, epoch, seq }) {
    if (!this.outbox.get(name)) return;
    const position = this.connection.feeds.get(dialogue)?.position;
    const past = position && (position.epoch !== epoch || position.seq > seq);
    if (dialogue !== this.route.id || past) this.outbox.remove(name);
    else {
      this.outbox.update(name, { state: 'sent' });
      this.dialogue = expectTurn(this.dialogue, turn);
    }
    this.onChange();
  }

  dropConfirmed() {
    for (const item of this.outbox.items) if (item.state === 'sent') this.outbox.remove(item.client_message_id);
  }

  async stop() {
    const fields = { dialogue: this.route.id };
    if (this.dialogue.turns.length > 0) fields.turn = this.dialogue.turns[0].id;
    await this.command('cancel', fields);
  }

  async regenerate() {
    const answer = await this.command('regenerate', { dialogue: this.route.id });
    if (answer) this.expect(answer);
  }

  /** Replace a message; whether that was done. */
  async edit(message, content) {
    const answer = await this.command('edit', { dialogue: this.route.id, message, content });
    if (answer) this.expect(answer);
    return answer !== null;
  }

  expect({ turn_id: turn }) {
    this.dialogue = expectTurn(this.dialogue, turn);
    this.onChange();
  }

  /** A command that is not repeated by itself: null, and words about it, when it failed. */
  async command(op, fields) {
    try {
      return await this.connection.call(op, fields);
    } catch (error) {
      this.onTrouble(sentence(error));
      return null;
    }
  }
}
