/**
 * One node per entry of the dialogue (see entries.js), made once and updated in place.
 *
 * Words of messages reach the page as text nodes or through MarkdownView, never as markup.
 */

import { MarkdownView, copyText } from './markdown_view.js';
import { clean } from './text.js';

/** Make an element: `h('p.note', {title: 'x'}, 'words', child)`. Properties are set, never attributes. */
export function h(selector, properties = {}, ...children) {
  const [name, ...classes] = selector.split('.');
  const node = Object.assign(document.createElement(name), properties);
  if (classes.length > 0) node.className = classes.join(' ');
  node.append(...children);
  return node;
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function button(label, onclick) {
  return h('button.quiet', { type: 'button', onclick }, label);
}

/** A message of a person. */
class UserView {
  constructor(actions) {
    this.actions = actions;
    this.words = h('div.bubble', { dir: 'auto' });
    this.status = h('p.trouble', { hidden: true });
    this.edit = button('Edit', () => this.beginEdit());
    this.copy = button('Copy', () => copyText(this.entry.content, this.copy));
    this.resend = button('Send again', () => actions.resend(this.entry.name));
    this.discard = button('Discard', () => actions.discard(this.entry.name));
    this.tools = h('div.tools', {}, this.edit, this.copy, this.resend, this.discard);
    this.root = h('article.message.user', {}, h('h2.hidden', {}, 'You'), this.words, this.status, this.tools);
    this.editor = null;
  }

  update(entry) {
    this.entry = entry;
    setText(this.words, clean(entry.content));
    this.root.dataset.state = entry.state;
    const waiting = entry.state === 'queued' || entry.state === 'sent';
    setText(this.status, entry.error ?? (waiting ? 'Sending…' : ''));
    this.status.classList.toggle('pale', waiting);
    // Only what takes long is worth a word.
    show(this.status, entry.state === 'failed' || (waiting && entry.slow));
    show(this.edit, entry.canEdit);
    show(this.resend, entry.state === 'failed');
    show(this.discard, entry.state === 'failed');
    if (!entry.canEdit) this.endEdit();
  }

  beginEdit() {
    if (this.editor) return;
    const text = h('textarea.edit-text', { value: this.entry.content, rows: 3, dir: 'auto' });
    text.setAttribute('aria-label', 'Edit your message');
    const save = () => this.saveEdit(text.value);
    text.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.endEdit(true);
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        save();
      }
      event.stopPropagation();
    });
    this.editor = h('div.editor', {}, text, h('p.pale', {}, 'This message and everything after it is replaced.'),
      h('div.editor-tools', {}, h('button.small', { type: 'button', onclick: () => this.endEdit(true) }, 'Cancel'),
        h('button.primary', { type: 'button', onclick: save }, 'Send')));
    this.words.hidden = true;
    this.tools.hidden = true;
    this.root.append(this.editor);
    text.focus();
    text.setSelectionRange(text.value.length, text.value.length);
  }

  async saveEdit(content) {
    if (content.trim() === '') return;
    if (content === this.entry.content || (await this.actions.edit(this.entry.id, content))) this.endEdit(true);
  }

  endEdit(refocus = false) {
    if (!this.editor) return;
    this.editor.remove();
    this.editor = null;
    this.words.hidden = false;
    this.tools.hidden = false;
    if (refocus) this.edit.focus();
  }
}

/** An answer of a model, from the first dots to the committed text. */
class AnswerView {
  constructor(actions) {
    this.notice = h('p.notice', { hidden: true });
    this.body = h('div.markdown', { dir: 'auto' });
    this.markdown = new MarkdownView(this.body);
    this.dots = h('p.thinking', { hidden: true }, h('span'), h('span'), h('span'), h('span.hidden', {}, 'Thinking'));
    this.trouble = h('p.trouble', { hidden: true });
    this.meta = h('span.meta');
    this.retry = button('Try again', () => actions.regenerate());
    this.again = button('Regenerate', () => actions.regenerate());
    this.copy = button('Copy', () => copyText(this.entry.text, this.copy));
    this.tools = h('div.tools', {}, this.copy, this.again, this.meta);
    this.root = h('article.message.answer', {}, h('h2.hidden', {}, 'Answer'), this.notice, this.body, this.dots,
      h('div.trouble-line', {}, this.trouble, this.retry), this.tools);
  }

  update(entry) {
    this.entry = entry;
    const live = entry.phase !== 'ended';
    this.root.dataset.phase = entry.phase;
    this.root.setAttribute('aria-busy', String(live));
    setText(this.notice, entry.notice ?? '');
    show(this.notice, entry.notice !== null);
    this.markdown.update(entry.text, { streaming: live });
    show(this.body, entry.text !== '');
    show(this.dots, live && entry.text === '');
    setText(this.trouble, entry.trouble ?? '');
    show(this.trouble, entry.trouble !== null);
    this.trouble.classList.toggle('bad', entry.failed);
    show(this.retry, entry.canRetry);
    show(this.copy, !live && entry.text !== '');
    show(this.again, entry.canRegenerate);
    setText(this.meta, metaWords(entry));
    show(this.tools, metaWords(entry) !== '' || (!live && entry.text !== ''));
  }
}

function metaWords({ model, tier, usage }) {
  const words = [];
  if (model) words.push(tier ? `${model} (${tier})` : model);
  if (usage?.output_tokens) words.push(`${usage.output_tokens} tokens`);
  return clean(words.join(' · '));
}

const VIEWS = { user: UserView, answer: AnswerView };

/** Keeps the nodes of `root` in step with a list of entries. */
export class MessagesView {
  /**
   * @param {HTMLElement} root Where the messages go.
   * @param {{resend, discard, edit, regenerate}} actions What the buttons in messages do; `edit` resolves to success.
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.views = new Map();
  }

  update(entries) {
    const left = new Set(this.views.keys());
    let place = this.root.firstElementChild;
    for (const entry of entries) {
      left.delete(entry.key);
      let view = this.views.get(entry.key);
      if (!view) {
        view = new VIEWS[entry.kind](this.actions);
        this.views.set(entry.key, view);
      }
      view.update(entry);
      if (view.root === place) place = place.nextElementSibling;
      else this.root.insertBefore(view.root, place);
    }
    for (const key of left) {
      this.views.get(key).root.remove();
      this.views.delete(key);
    }
  }

  clear() {
    this.update([]);
  }
}
