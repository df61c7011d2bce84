/** The box to write in, with Send and Stop. Enter sends, Shift+Enter begins a line, Escape stops the answer. */

import { utf8Bytes } from './text.js';

const BYTES_MAX = 32_768;

export class Composer {
  /**
   * @param {object} parts The elements `form`, `text`, `send`, `stop`, `hint`.
   * @param {{onSend: (text: string) => void, onStop: () => void}} actions
   */
  constructor(parts, { onSend, onStop }) {
    Object.assign(this, { parts, onSend, onStop });
    // 'ready' · 'waiting' (a message is on its way) · 'generating' · 'closed'
    this.state = 'ready';
    this.reason = '';
    const { form, text, stop } = parts;
    text.addEventListener('input', () => this.refresh());
    text.addEventListener('keydown', (event) => this.keyDown(event));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.submit();
    });
    stop.addEventListener('click', () => this.onStop());
    this.refresh();
  }

  focus() {
    this.parts.text.focus({ preventScroll: true });
  }

  /** `reason`: why it is closed, in words. */
  setState(state, reason = '') {
    this.reason = reason;
    if (state === this.state) return;
    const hadFocus = document.activeElement === this.parts.stop || document.activeElement === this.parts.send;
    this.state = state;
    this.refresh();
    // A button that vanishes must not take the keyboard's place on the page with it.
    if (hadFocus) this.focus();
  }

  refresh() {
    const { text, send, stop } = this.parts;
    const bytes = utf8Bytes(text.value);
    const generating = this.state === 'generating';
    send.hidden = generating;
    stop.hidden = !generating;
    text.disabled = this.state === 'closed';
    send.disabled = this.state !== 'ready' || text.value.trim() === '' || bytes > BYTES_MAX;
    this.say(this.hint(bytes), bytes > BYTES_MAX || this.state === 'closed');
    text.rows = Math.min(8, text.value.split('\n').length);
  }

  hint(bytes) {
    if (this.state === 'closed') return this.reason;
    if (bytes > BYTES_MAX) return `Too long: ${Math.ceil(bytes / 1024)} of 32 KiB.`;
    if (bytes > BYTES_MAX * 0.8) return `${Math.floor(bytes / 1024)} of 32 KiB`;
    if (this.state === 'generating') return 'Escape stops the answer.';
    return 'Enter sends, Shift+Enter begins a new line.';
  }

  say(words, bad = false) {
    if (this.parts.hint.textContent !== words) this.parts.hint.textContent = words;
    this.parts.hint.classList.toggle('bad', bad);
  }

  keyDown(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit();
  }

  submit() {
    const { text, send } = this.parts;
    if (this.state === 'generating') this.say('An answer is being written. Wait for it, or stop it with Escape.');
    if (send.disabled || this.state !== 'ready') return;
    const words = text.value;
    text.value = '';
    this.onSend(words);
    this.refresh();
  }
}
