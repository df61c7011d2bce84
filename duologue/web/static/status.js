/** The connection's state in words: the light in the head and the banner with its countdown. */

import { closing } from './errors.js';
import { h } from './messages_view.js';

const WORDS = {
  stopped: 'Not connected', connecting: 'Connecting', open: 'Connected', waiting: 'Reconnecting', closed: 'Disconnected',
};

export class StatusView {
  /**
   * @param {object} parts The elements `light`, `lightWords`, `banner`, `words`, `action`.
   * @param {() => void} onConnect What the banner's button does.
   */
  constructor(parts, onConnect) {
    this.parts = parts;
    this.state = { name: 'stopped' };
    // Whether there is something to say while connecting: the first time there is not.
    this.troubled = false;
    // Changes each second, so it is for the eyes only: the words before it are what a screen reader says.
    this.countdown = h('span');
    this.countdown.setAttribute('aria-hidden', 'true');
    this.words = h('span');
    parts.words.append(this.words, ' ', this.countdown);
    parts.action.addEventListener('click', onConnect);
    setInterval(() => this.tick(), 250);
  }

  update(state) {
    this.state = state;
    if (state.name === 'waiting' || state.name === 'closed') this.troubled = true;
    if (state.name === 'open') this.troubled = false;
    this.parts.light.dataset.state = state.name;
    set(this.parts.lightWords, WORDS[state.name]);
    this.parts.banner.hidden = !this.troubled;
    this.parts.banner.dataset.state = state.name;
    set(this.parts.action, state.name === 'closed' ? 'Connect again' : 'Try now');
    this.parts.action.disabled = state.name === 'connecting';
    set(this.words, this.sentence());
    this.tick();
  }

  sentence() {
    if (this.state.name === 'closed') return closing(this.state.code);
    return navigator.onLine ? 'The connection was lost.' : 'You are offline.';
  }

  tick() {
    if (!this.troubled) return;
    const { name, until } = this.state;
    const seconds = Math.ceil((until - Date.now()) / 1000);
    const trying = name === 'connecting' || seconds <= 0;
    set(this.countdown, name === 'closed' ? '' : trying ? 'Trying again…' : `Trying again in ${seconds} s.`);
  }
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
