/** Asks for the server's token, and for another one when it was not taken. */

import { token } from './api.js';

export class TokenDialog {
  /**
   * @param {object} parts The elements `dialog`, `form`, `text`, `trouble`.
   * @param {() => void} onToken Called when there is a token to try.
   */
  constructor(parts, onToken) {
    this.parts = parts;
    // Cancelling would leave a page that can do nothing.
    parts.dialog.addEventListener('cancel', (event) => event.preventDefault());
    parts.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const value = parts.text.value.trim();
      if (value === '') return;
      token.set(value);
      parts.text.value = '';
      parts.dialog.close();
      onToken();
    });
  }

  get isOpen() {
    return this.parts.dialog.open;
  }

  /** Ask. A token that was shown is taken to be wrong and forgotten. */
  ask() {
    const rejected = token.get() !== null;
    token.forget();
    if (rejected || !this.isOpen) this.parts.trouble.hidden = !rejected;
    if (!this.isOpen) this.parts.dialog.showModal();
    this.parts.text.focus();
  }
}
