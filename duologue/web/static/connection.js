/**
 * The socket: opens it, keeps it, opens it again, and hands on each dialogue's events in order.
 *
 * States, told to `onState`: {name: 'connecting'} · {name: 'open'} · {name: 'waiting', until, attempt} (`until` by
 * Date.now()) · {name: 'closed', code} (the server said not to come back) · {name: 'stopped'}.
 */

import { WireError } from './errors.js';
import { Feed, backoff, mayReconnect } from './feed.js';

const COALESCE_MS = 40;
const CONNECT_TIMEOUT_MS = 10_000;
const ANSWER_TIMEOUT_MS = 15_000;
// The server pings every 20 to 25 s; twice that without a frame is a dead link.
const SILENCE_MAX_MS = 50_000;
const PROBE_TIMEOUT_MS = 5_000;
const FRAME_BYTES_MAX = 65_536;

export class Connection {
  /**
   * @param {object} options
   * @param {string} options.url Where the socket is.
   * @param {() => string | null} options.token The token to show, read at each attempt.
   * @param {(state: object) => void} options.onState Told of each change of state.
   * @param {(dialogue: string, event: object) => void} options.onEvent Told of each event, in order, without gaps.
   * @param {(dialogue: string, error: WireError) => void} options.onRefused Told when a dialogue can't be watched.
   */
  constructor({ url, token, onState, onEvent, onRefused }) {
    Object.assign(this, { url, token, onState, onEvent, onRefused });
    this.state = { name: 'stopped' };
    this.feeds = new Map();
    this.socket = null;
    this.pending = new Map();
    this.nextId = 1;
    this.attempt = 0;
    this.pauseMin = 0;
    this.heardAt = 0;
    this.timer = null;
    setInterval(() => this.checkSilence(), 5_000);
    addEventListener('online', () => this.wake());
    addEventListener('offline', () => this.probe());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.wake());
  }

  // ── for the page ──────────────────────────────────────────────────────────────────────────────────────────

  /** Connect now, whatever was planned. */
  connect() {
    this.drop();
    clearTimeout(this.timer);
    this.setState({ name: 'connecting' });
    const socket = new WebSocket(this.url, ['duologue.v1.json']);
    this.socket = socket;
    this.timer = setTimeout(() => this.lost(socket, 1006), CONNECT_TIMEOUT_MS);
    socket.onopen = () => this.opened(socket);
    socket.onmessage = ({ data }) => this.socket === socket && this.received(data);
    socket.onclose = ({ code }) => this.lost(socket, code);
  }

  /** Watch a dialogue from now on, through every reconnection. */
  watch(dialogue) {
    const feed = new Feed(dialogue);
    this.feeds.set(dialogue, feed);
    if (this.state.name === 'open') this.attach(feed);
    return feed;
  }

  unwatch(dialogue) {
    if (!this.feeds.delete(dialogue)) return;
    if (this.state.name === 'open') this.call('detach', { dialogue }).catch(() => {});
  }

  /** Ask for a snapshot of a watched dialogue, whatever is known of it. */
  refresh(dialogue) {
    const feed = this.feeds.get(dialogue);
    if (!feed) return;
    feed.position = null;
    if (this.state.name === 'open') this.attach(feed);
  }

  /**
   * Send a command and wait for its answer.
   *
   * Rejects with a WireError: the server's, or `disconnected`/`no_answer`, after which it is not known whether
   * the command was carried out.
   */
  call(op, fields = {}) {
    const id = this.nextId;
    const frame = JSON.stringify({ id, op, ...fields });
    if (this.socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new WireError({ code: 'disconnected', retryable: true }));
    }
    if (new TextEncoder().encode(frame).length > FRAME_BYTES_MAX) {
      return Promise.reject(new WireError({ code: 'frame_too_large' }));
    }
    this.nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.settle(id, { error: { code: 'no_answer', retryable: true } }), ANSWER_TIMEOUT_MS);
      this.pending.set(id, { resolve, reject, timer });
      this.socket.send(frame);
    });
  }

  // ── life of one socket ────────────────────────────────────────────────────────────────────────────────────

  async opened(socket) {
    if (this.socket !== socket) return;
    clearTimeout(this.timer);
    this.heardAt = Date.now();
    const token = this.token();
    if (token !== null) {
      try {
        await this.call('auth', { token });
      } catch (error) {
        if (this.socket === socket && error.code === 'not_authenticated') this.lost(socket, 4501);
        else if (this.socket === socket) this.lost(socket, 1006);
        return;
      }
    }
    if (this.socket !== socket) return;
    this.setState({ name: 'open' });
    for (const feed of this.feeds.values()) this.attach(feed);
  }

  async attach(feed) {
    const fields = { dialogue: feed.dialogue, coalesce_ms: COALESCE_MS };
    if (feed.position) fields.after = feed.position;
    const socket = this.socket;
    try {
      // This goes on before the next frame is looked at, so the feed knows the answer before its events.
      feed.attached(await this.call('attach', fields));
    } catch (error) {
      if (this.socket !== socket || this.feeds.get(feed.dialogue) !== feed) return;
      if (error.code === 'not_authenticated') this.lost(socket, 4501);
      else if (error.retryable && error.code !== 'disconnected') this.lost(socket, 4001);
      else if (error.code !== 'disconnected') this.onRefused(feed.dialogue, error);
    }
  }

  received(data) {
    this.heardAt = Date.now();
    const frame = JSON.parse(data);
    if ('re' in frame) this.settle(frame.re, frame);
    else if (frame.event === 'ping') this.call('pong').catch(() => {});
    else if (frame.event === 'server.draining') this.pauseMin = frame.reconnect_after_ms;
    else this.take(frame);
  }

  take(event) {
    const feed = this.feeds.get(event.dialogue);
    if (!feed) return;
    const verdict = feed.take(event);
    if (verdict === 'apply') this.onEvent(event.dialogue, event);
    else if (verdict === 'gap') this.refresh(event.dialogue);
  }

  settle(id, { ok, error }) {
    const waiting = this.pending.get(id);
    if (!waiting) return;
    this.pending.delete(id);
    clearTimeout(waiting.timer);
    if (error) {
      waiting.reject(new WireError(error));
      return;
    }
    // A server that answers is back; one that only accepts the socket may not be.
    this.attempt = 0;
    waiting.resolve(ok);
  }

  lost(socket, code) {
    if (this.socket !== socket) return;
    this.drop();
    if (!mayReconnect(code)) {
      this.setState({ name: 'closed', code });
      return;
    }
    const pause = this.pauseMin * (1 + Math.random()) + backoff(this.attempt);
    this.pauseMin = 0;
    this.attempt += 1;
    this.setState({ name: 'waiting', until: Date.now() + pause, attempt: this.attempt });
    this.timer = setTimeout(() => this.connect(), pause);
  }

  /** Let go of the socket without waiting for it: a dead link would take minutes to say goodbye. */
  drop() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    for (const id of [...this.pending.keys()]) this.settle(id, { error: { code: 'disconnected', retryable: true } });
    socket?.close();
  }

  setState(state) {
    this.state = state;
    this.onState(state);
  }

  // ── is it alive? ──────────────────────────────────────────────────────────────────────────────────────────

  checkSilence() {
    if (this.state.name === 'open' && Date.now() - this.heardAt > SILENCE_MAX_MS) this.lost(this.socket, 4012);
  }

  /** The tab came to the front, or the network came back. */
  wake() {
    if (this.state.name === 'waiting') this.connect();
    else this.probe();
  }

  probe() {
    if (this.state.name !== 'open') return;
    const socket = this.socket;
    const askedAt = Date.now();
    this.call('pong').catch(() => {});
    setTimeout(() => this.heardAt < askedAt && this.lost(socket, 4012), PROBE_TIMEOUT_MS);
  }
}
