/** The list of live dialogues at the side: asked for every two seconds while the page is looked at. */

import { listDialogues } from './api.js';
import { sentence } from './errors.js';
import { h } from './messages_view.js';
import { clean } from './text.js';

const REFRESH_MS = 2_000;
const PAGES_MAX = 4;

export class LiveList {
  /**
   * @param {object} parts The elements `list`, `note` and `more`.
   * @param {object} options
   * @param {(id: string) => boolean} options.isMine Whether this browser takes part in a dialogue.
   * @param {(id: string) => void} options.onPick Told which dialogue was clicked.
   * @param {() => boolean} options.isPaused Whether not to ask now.
   * @param {(error: Error) => void} options.onError Told when the list can't be had.
   */
  constructor(parts, { isMine, onPick, isPaused, onError }) {
    Object.assign(this, { parts, isMine, onPick, isPaused, onError });
    this.items = new Map();
    this.current = null;
    this.pages = 1;
    this.running = false;
    this.timer = null;
    parts.more.addEventListener('click', () => {
      this.pages += 1;
      this.refresh();
    });
    document.addEventListener('visibilitychange', () => this.refresh());
  }

  /** Which dialogue is on show. */
  setCurrent(id) {
    this.current = id;
    for (const [other, item] of this.items) this.mark(other, item);
  }

  /** Ask now, and go on asking. */
  async refresh() {
    clearTimeout(this.timer);
    if (this.running || document.visibilityState !== 'visible') return;
    this.running = true;
    try {
      if (this.isPaused()) return;
      const { dialogues, before } = await this.load();
      this.show(dialogues, before);
    } catch (error) {
      this.say(`The list can’t be had. ${sentence(error)}`);
      this.onError(error);
    } finally {
      this.running = false;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
    }
  }

  async load() {
    const dialogues = [];
    let before = null;
    for (let page = 0; page < this.pages; page += 1) {
      const answer = await listDialogues(before);
      dialogues.push(...answer.dialogues);
      before = answer.before;
      if (before === null) break;
    }
    return { dialogues, before };
  }

  show(rows, before) {
    const left = new Set(this.items.keys());
    let place = this.parts.list.firstElementChild;
    for (const row of rows) {
      left.delete(row.id);
      const item = this.items.get(row.id) ?? this.create(row.id);
      this.fill(item, row);
      if (item.root === place) place = place.nextElementSibling;
      else this.parts.list.insertBefore(item.root, place);
    }
    for (const id of left) {
      this.items.get(id).root.remove();
      this.items.delete(id);
    }
    this.parts.more.hidden = before === null || this.pages >= PAGES_MAX;
    this.say(rows.length === 0 ? 'No dialogues yet.' : '');
  }

  create(id) {
    const item = {
      dot: h('span.dot'), words: h('span.words', { dir: 'auto' }), detail: h('span.detail'), status: h('span.hidden'),
    };
    item.button = h('button.row', { type: 'button', onclick: () => this.onPick(id) },
      item.dot, h('span.row-text', {}, item.words, item.detail), item.status);
    item.root = h('li', {}, item.button);
    this.items.set(id, item);
    return item;
  }

  fill(item, row) {
    const generating = row.status === 'generating';
    const detail = [this.isMine(row.id) ? 'yours' : row.feature, row.section, viewers(row.viewers), age(row.updated_at)];
    set(item.words, clean(row.preview ?? '') || 'Nothing said yet');
    set(item.detail, clean(detail.filter(Boolean).join(' · ')));
    set(item.status, generating ? 'An answer is being written' : 'Idle');
    item.dot.dataset.state = generating ? 'generating' : 'idle';
    this.mark(row.id, item);
  }

  mark(id, item) {
    if (id === this.current) item.button.setAttribute('aria-current', 'true');
    else item.button.removeAttribute('aria-current');
  }

  say(words) {
    set(this.parts.note, words);
    this.parts.note.hidden = words === '';
  }
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function viewers(count) {
  if (!count) return '';
  return count === 1 ? '1 viewer' : `${count} viewers`;
}

/** How long ago, coarsely enough not to tick. */
function age(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  if (past < 60) return 'now';
  if (past < 3600) return `${Math.floor(past / 60)} min`;
  if (past < 86_400) return `${Math.floor(past / 3600)} h`;
  return `${Math.floor(past / 86_400)} d`;
}
