/**
 * What the page shows of a dialogue, as a list of entries in order. Pure.
 *
 * Each has a `key` that stays the same while it grows from a message on its way to a committed one, and from a
 * streaming answer to a complete one, so that the view can keep its nodes.
 *   {kind: 'user', key, message?, content, state: 'queued' | 'sent' | 'failed' | 'accepted', error?, name?}
 *   {kind: 'answer', key, text, phase: 'waiting' | 'streaming' | 'recovering' | 'ended', complete, model, tier, usage,
 *    notice, trouble, canRetry, canRegenerate}
 */

import { isGenerating } from './dialogue.js';
import { sentence } from './errors.js';

/** All entries. `watching` takes away everything that would change the dialogue. */
export function entriesOf(state, outbox, { watching = false } = {}) {
  const live = state.messages.filter((message) => message.status !== 'superseded' && message.role !== 'system');
  const quiet = !isGenerating(state);
  const mayAct = quiet && !watching && state.closed === null;
  const entries = [];
  live.forEach((message, index) => {
    const next = live[index + 1] ?? null;
    if (message.role === 'assistant') entries.push(answerEntry(message, state, mayAct && next === null));
    else if (message.role === 'user') {
      entries.push(userEntry(message, !watching && state.closed === null));
      const outcome = endWithoutWords(message, next, state, quiet);
      if (outcome) entries.push(unansweredEntry(message, outcome, mayAct && next === null));
    }
  });
  const shown = new Set(live.map((message) => message.client_message_id));
  for (const item of outbox) if (!shown.has(item.client_message_id)) entries.push(outgoing(item));
  for (const turn of state.turns) entries.push(liveEntry(turn));
  if (state.expecting && state.turns.length === 0) entries.push(liveEntry({ id: 'expected', text: '', phase: 'waiting' }));
  return entries;
}

function userEntry(message, canEdit) {
  return {
    kind: 'user', key: `user:${message.client_message_id ?? message.id}`, id: message.id, content: message.content,
    state: 'accepted', error: null, name: null, canEdit,
  };
}

function outgoing({ client_message_id: name, content, state, error }) {
  const trouble = state === 'failed' ? sentence(error) : null;
  return { kind: 'user', key: `user:${name}`, id: null, content, state, error: trouble, name, canEdit: false };
}

function answerEntry(message, state, last) {
  const outcome = state.outcomes[message.turn_id];
  const partial = message.status === 'partial';
  return {
    kind: 'answer', key: `answer:${message.turn_id}`, text: message.content, phase: 'ended', complete: !partial,
    model: message.model ?? null, tier: outcome?.tier ?? null, usage: message.usage ?? null,
    notice: outcome?.notice ?? null, trouble: partial ? partialTrouble(outcome) : finishTrouble(outcome),
    failed: outcome?.kind === 'failed', canRetry: last && partial, canRegenerate: last && !partial,
  };
}

function partialTrouble(outcome) {
  if (outcome?.kind === 'failed') return `${sentence(outcome.error)} This is as far as the answer came.`;
  if (outcome?.kind === 'cancelled') return 'Stopped. This is as far as the answer came.';
  return 'This answer is incomplete.';
}

function finishTrouble(outcome) {
  if (outcome?.finish === 'length') return 'The answer reached the model’s limit of length.';
  if (outcome?.finish === 'content_filter') return 'The answer was cut by the model’s content filter.';
  return null;
}

/** How the turn of a message that nobody answered ended: an outcome, {kind: 'unknown'}, or null when it is answered. */
function endWithoutWords(message, next, state, quiet) {
  if (next === null) return quiet ? state.outcomes[state.unsaid] ?? { kind: 'unknown' } : null;
  const outcome = state.outcomes[message.turn_id];
  const mine = outcome && outcome.kind !== 'completed' && next.role === 'user' && next.turn_id !== message.turn_id;
  const answered = state.messages.some((other) => other.role === 'assistant' && other.turn_id === message.turn_id);
  return mine && !answered ? outcome : null;
}

const ENDINGS = { cancelled: 'Stopped before the answer began.', unknown: 'This message has no answer yet.' };

function unansweredEntry(message, outcome, canRetry) {
  const trouble = outcome.kind === 'failed' ? sentence(outcome.error) : ENDINGS[outcome.kind];
  return {
    ...liveEntry({ id: `none:${message.id}`, text: '', phase: 'ended' }),
    trouble, failed: outcome.kind === 'failed', canRetry,
  };
}

function liveEntry({ id, text, phase, model = null, tier = null, notice = null }) {
  return {
    kind: 'answer', key: `answer:${id}`, text, phase, complete: false, model, tier, usage: null, notice,
    trouble: null, failed: false, canRetry: false, canRegenerate: false,
  };
}
