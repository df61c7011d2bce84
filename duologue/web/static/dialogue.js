/**
 * A dialogue as the page knows it, and how events change it. Pure: state and event in, new state out.
 *
 * State:
 *   messages   committed ones in order, superseded ones included
 *   before     cursor of older messages, null when there are none
 *   turns      open turns in order: {id, attempt, text, length, model, tier, phase, notice}; `length` in code points,
 *              `phase` 'waiting' | 'streaming' | 'recovering'
 *   outcomes   what is known of ended turns beyond their messages, by turn id: {kind, tier, error, finish, notice};
 *              `kind` 'completed' | 'cancelled' | 'failed'
 *   unsaid     id of the last ended turn, where it ended without a word; null once another is under way
 *   expecting  an answer was withdrawn for a new one that has no turn yet
 *   closed     why no more will come, or null
 *   broken     an event did not fit what is known: a snapshot is needed
 */

import { codePoints } from './text.js';

export function emptyDialogue(id = null) {
  return {
    id, feature: null, section: null, messages: [], before: null, turns: [], outcomes: {}, unsaid: null, expecting: false,
    usage: null, closed: null, broken: false, loaded: id === null,
  };
}

const HANDLERS = {
  'dialogue.snapshot': snapshot,
  'message.accepted': accepted,
  'message.superseded': superseded,
  'turn.started': started,
  'turn.delta': delta,
  'turn.restarted': restarted,
  'turn.continued': continued,
  'turn.interrupted': interrupted,
  'turn.completed': completed,
  'turn.failed': failed,
  'turn.cancelled': cancelled,
  'dialogue.closed': (state, event) => ({ ...state, closed: event.reason, turns: [] }),
};

/** The state after an event. Events of unknown names change nothing: the contract may grow. */
export function apply(state, event) {
  const handler = HANDLERS[event.event];
  return handler ? handler(state, event) : state;
}

/** A page of older history, put before what is there. */
export function prepend(state, { messages, before }) {
  const known = new Set(state.messages.map((message) => message.id));
  return { ...state, before, messages: [...messages.filter((message) => !known.has(message.id)), ...state.messages] };
}

/** The server answered a command with a turn that has no event yet. */
export function expectTurn(state, turn) {
  const known = state.turns.some(({ id }) => id === turn) || turn in state.outcomes
    || state.messages.some((message) => message.role === 'assistant' && message.turn_id === turn
      && message.status !== 'superseded');
  return known ? state : withTurn(state, turn, {});
}

/** Whether an answer is being made. */
export function isGenerating(state) {
  return state.turns.length > 0 || state.expecting;
}

// ── snapshot and messages ───────────────────────────────────────────────────────────────────────────────────────

function snapshot(state, { snapshot: found }) {
  const { turn } = found;
  const open = { ...emptyTurn(turn?.id), ...turn, length: codePoints(turn?.text ?? '') };
  open.phase = open.text === '' ? 'waiting' : 'streaming';
  if (isBackup(open.tier)) open.notice = backupNotice(open.tier);
  return {
    ...emptyDialogue(found.id),
    loaded: true,
    feature: found.feature,
    section: found.section,
    messages: found.messages,
    before: found.before,
    turns: turn ? [open] : [],
    expecting: !turn && found.status === 'generating',
    usage: found.usage,
    outcomes: state.outcomes,
    unsaid: turn ? null : state.unsaid,
  };
}

function accepted(state, { message, turn }) {
  const messages = state.messages.some(({ id }) => id === message.id)
    ? state.messages
    : [...state.messages, message];
  return withTurn({ ...state, messages, expecting: false }, turn, {});
}

function superseded(state, { message: id }) {
  const found = state.messages.find((message) => message.id === id) ?? keptPartial(state);
  if (!found) return state;
  const messages = state.messages.map((message) => (message === found ? { ...message, status: 'superseded' } : message));
  // Another viewer asked for a new answer: its turn is told only when it starts.
  const answer = found.role === 'assistant' && found === lastLive(state.messages) && state.turns.length === 0;
  return { ...state, messages, expecting: answer || state.expecting };
}

/** The partial answer that this page kept by itself; the server's id for it was in no event. */
function keptPartial(state) {
  return state.messages.findLast((message) => message.kept && message.status !== 'superseded');
}

function lastLive(messages) {
  return messages.findLast((message) => message.status !== 'superseded');
}

// ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────

function emptyTurn(id) {
  return { id, attempt: 0, text: '', length: 0, model: null, tier: null, phase: 'waiting', notice: null };
}

function withTurn(state, id, change) {
  const known = state.turns.some((turn) => turn.id === id);
  const turns = known ? state.turns : [...state.turns, emptyTurn(id)];
  return { ...state, expecting: false, unsaid: null, turns: turns.map((turn) => (turn.id === id ? { ...turn, ...change } : turn)) };
}

const isBackup = (tier) => tier !== null && tier !== undefined && tier !== 'primary';
const backupNotice = (tier) => `Answered by the ${tier} model.`;

function started(state, { turn, attempt, model, tier }) {
  return withTurn(state, turn, {
    attempt, model, tier, phase: 'streaming', text: '', length: 0, notice: isBackup(tier) ? backupNotice(tier) : null,
  });
}

function delta(state, { turn: id, attempt, offset, text }) {
  const turn = state.turns.find((open) => open.id === id);
  if (!turn || turn.attempt !== attempt || turn.length !== offset) return { ...state, broken: true };
  return withTurn(state, id, { text: turn.text + text, length: turn.length + codePoints(text), phase: 'streaming' });
}

function restarted(state, { turn, attempt, model, tier }) {
  const withdrawn = (state.turns.find((open) => open.id === turn)?.text ?? '') !== '';
  const lead = withdrawn ? 'The first attempt broke off and was withdrawn. ' : '';
  return withTurn(state, turn, {
    attempt, model, tier, text: '', length: 0, phase: 'streaming',
    notice: lead + (isBackup(tier) ? backupNotice(tier) : 'Answered again from the start.'),
  });
}

function continued(state, { turn, attempt, model, tier }) {
  return withTurn(state, turn, {
    attempt, model, tier, phase: 'streaming', notice: `The first attempt broke off; the ${tier} model went on from there.`,
  });
}

function interrupted(state, { turn, partial }) {
  return withTurn(state, turn, {
    text: partial, length: codePoints(partial), phase: 'recovering',
    notice: 'The server was interrupted and is taking this answer up again.',
  });
}

/** Close a turn: its message (or none) joins the history, and what else is known of it is kept beside. */
function ended(state, id, message, outcome) {
  const turn = state.turns.find((open) => open.id === id);
  const messages = message && !state.messages.some((known) => known.id === message.id)
    ? [...state.messages, message]
    : state.messages;
  return {
    ...state,
    messages,
    expecting: false,
    unsaid: message ? null : id,
    turns: state.turns.filter((open) => open.id !== id),
    outcomes: { ...state.outcomes, [id]: { tier: turn?.tier ?? null, notice: turn?.notice ?? null, ...outcome } },
  };
}

function completed(state, { turn, message, finish_reason: finish, usage }) {
  const next = ended(state, turn, message, { kind: 'completed', finish });
  return { ...next, usage: added(next.usage, usage) };
}

function added(total, usage) {
  if (!usage) return total;
  const sum = (name) => (total?.[name] ?? 0) + (usage[name] ?? 0);
  return { input_tokens: sum('input_tokens'), output_tokens: sum('output_tokens') };
}

function kept(state, turn, partial) {
  if (partial === '') return null;
  const model = state.turns.find((open) => open.id === turn)?.model ?? undefined;
  return { id: `kept:${turn}`, role: 'assistant', content: partial, turn_id: turn, status: 'partial', model, kept: true };
}

function failed(state, { turn, error, partial }) {
  return ended(state, turn, kept(state, turn, partial), { kind: 'failed', error });
}

function cancelled(state, { turn, partial }) {
  return ended(state, turn, kept(state, turn, partial), { kind: 'cancelled' });
}
