/** Puts the page together. */

import { socketUrl, token } from './api.js';
import { App } from './app.js';
import { Composer } from './composer.js';
import { Connection } from './connection.js';
import { farewell, sentence } from './errors.js';
import { LiveList } from './live_list.js';
import { memory } from './memory.js';
import { MessagesView, h } from './messages_view.js';
import { Scroller } from './scroll.js';
import { StatusView } from './status.js';
import { clean } from './text.js';
import { TokenDialog } from './token_dialog.js';

const byId = (id) => document.getElementById(id);
const TOAST_MS = 8_000;

// ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────

const query = new URLSearchParams(location.search);
const opening = { feature: query.get('feature') ?? 'student_dialogue' };
for (const name of ['section', 'account']) if (query.get(name)) opening[name] = query.get(name);

const app = new App({ opening, onChange: schedule, onEvent: announce, onTrouble: toast });

const connection = new Connection({
  url: socketUrl(),
  token: token.get,
  onState: (state) => {
    status.update(state);
    if (state.name === 'open') {
      app.connected();
      live.refresh();
    }
    if (state.name === 'closed' && state.code === 4501) askToken();
  },
  onEvent: (dialogue, event) => app.received(dialogue, event),
  onRefused: (dialogue, error) => app.refused(dialogue, error),
});
app.connection = connection;

const status = new StatusView({
  light: byId('link-state'), lightWords: byId('link-words'), banner: byId('banner'), words: byId('banner-words'),
  action: byId('banner-action'),
}, () => connection.connect());

const tokenDialog = new TokenDialog({
  dialog: byId('token-dialog'), form: byId('token-form'), text: byId('token-text'), trouble: byId('token-trouble'),
}, () => {
  connection.connect();
  live.refresh();
});

const live = new LiveList({ list: byId('live'), note: byId('live-note'), more: byId('live-more') }, {
  isMine: memory.isMine,
  onPick: (id) => {
    app.go({ mode: memory.isMine(id) ? 'chat' : 'watch', id });
    closeSide();
  },
  // A server that is coming back has enough to do with the sockets.
  isPaused: () => tokenDialog.isOpen || connection.state.name === 'waiting',
  onError: (error) => error.code === 'not_authenticated' && error.bearer === token.get() && askToken(),
});

const composer = new Composer({
  form: byId('composer'), text: byId('composer-text'), send: byId('send'), stop: byId('stop'), hint: byId('hint-words'),
}, {
  onSend: (text) => {
    scroller.follow();
    app.send(text);
  },
  onStop: () => app.stop(),
});

const messages = new MessagesView(byId('messages'), {
  resend: (name) => app.resend(name),
  discard: (name) => app.discard(name),
  edit: (id, content) => app.edit(id, content),
  regenerate: () => {
    scroller.follow();
    app.regenerate();
  },
});

const scroller = new Scroller({ scroller: byId('scroller'), older: byId('older'), toEnd: byId('to-end') }, async () => {
  await app.loadOlder();
  render();
});

// ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────

let scheduled = false;
let grewAbove = false;
let shownId = null;

/** Render once per frame, however many events it brought; a hidden tab has no frames. */
function schedule(change = {}) {
  grewAbove ||= change.grewAbove === true;
  if (scheduled) return;
  scheduled = true;
  if (document.visibilityState === 'visible') requestAnimationFrame(render);
  else setTimeout(render, 250);
}

function render() {
  scheduled = false;
  const { dialogue, route } = app;
  if (route.id !== shownId) {
    shownId = route.id;
    live.setCurrent(route.id);
    scroller.following = true;
  }
  const entries = app.missing === null ? app.entries() : [];
  scroller.around(() => {
    messages.update(entries);
    byId('older').hidden = dialogue.before === null || app.missing !== null;
    byId('empty').hidden = entries.length > 0 || app.missing !== null || !dialogue.loaded || app.watching;
    byId('missing').hidden = app.missing === null;
    byId('missing-words').textContent = app.missing ?? '';
  }, { grewAbove });
  grewAbove = false;
  renderHead(dialogue);
  byId('watch-bar').hidden = !app.watching || app.missing !== null;
  byId('composer').hidden = app.watching || app.missing !== null;
  byId('composer-hint').hidden = byId('composer').hidden;
  composer.setState(composerState(dialogue), dialogue.closed === null ? '' : farewell(dialogue.closed));
}

function composerState(dialogue) {
  if (dialogue.closed !== null) return 'closed';
  if (app.busy) return 'generating';
  return app.sending ? 'waiting' : 'ready';
}

function renderHead(dialogue) {
  const first = dialogue.messages.find((message) => message.role === 'user' && message.status !== 'superseded');
  const title = clean(first?.content ?? '').trim().split('\n')[0].slice(0, 80) || (app.watching ? 'Dialogue' : 'New dialogue');
  byId('title').textContent = title;
  document.title = `${title} · Duologue`;
  const words = [dialogue.feature ?? opening.feature, dialogue.section, tokensOf(dialogue.usage)];
  byId('subtitle').textContent = clean(words.filter(Boolean).join(' · '));
}

function tokensOf(usage) {
  const sum = (usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0);
  return sum > 0 ? `${sum.toLocaleString('en')} tokens` : '';
}

/** Tell a screen reader what happened, and the answer when it is whole: not token by token. */
function announce({ event, message, error, tier }) {
  const words = {
    'turn.started': 'An answer is being written.',
    'turn.restarted': `The answer begins again with the ${tier} model.`,
    'turn.completed': `Answer: ${message?.content}`,
    'turn.cancelled': 'The answer was stopped.',
    'turn.failed': error && sentence(error),
  }[event];
  if (words) byId('announcer').textContent = clean(words);
}

function toast(words) {
  const note = h('div.toast', {}, words);
  const close = h('button.quiet', { type: 'button', onclick: () => note.remove() }, 'Dismiss');
  note.append(close);
  byId('toasts').append(note);
  setTimeout(() => note.remove(), TOAST_MS);
}

function askToken() {
  closeSide();
  tokenDialog.ask();
}

// ── the side ────────────────────────────────────────────────────────────────────────────────────────────────────

function openSide() {
  document.body.classList.add('side-is-open');
  byId('veil').hidden = false;
  byId('page').inert = true;
  byId('side-open').setAttribute('aria-expanded', 'true');
  byId('side-close').focus();
}

function closeSide() {
  if (!document.body.classList.contains('side-is-open')) return;
  document.body.classList.remove('side-is-open');
  byId('veil').hidden = true;
  byId('page').inert = false;
  byId('side-open').setAttribute('aria-expanded', 'false');
  byId('side-open').focus();
}

byId('side-open').addEventListener('click', openSide);
byId('side-close').addEventListener('click', closeSide);
byId('veil').addEventListener('click', closeSide);
byId('new').addEventListener('click', () => {
  app.go({ mode: 'new', id: null });
  closeSide();
  composer.focus();
});
byId('take-part').addEventListener('click', () => {
  app.go({ mode: 'chat', id: app.route.id });
  render();
  composer.focus();
});
// The address belongs to the dialogue, so the link only moves the focus.
byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  composer.focus();
});
addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || event.isComposing || tokenDialog.isOpen) return;
  if (document.body.classList.contains('side-is-open')) closeSide();
  else if (app.busy && !app.watching) app.stop();
});
addEventListener('hashchange', () => app.followAddress());
addEventListener('popstate', () => app.followAddress());

// ── begin ───────────────────────────────────────────────────────────────────────────────────────────────────────

app.followAddress();
connection.connect();
live.refresh();
if (matchMedia('(hover: hover)').matches) composer.focus();
