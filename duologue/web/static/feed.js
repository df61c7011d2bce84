/**
 * The numbers of one dialogue's events. Pure.
 *
 * The contract: within an epoch each event's `first_seq` (or `seq`, where there is none) is the last seq + 1.
 * Whatever breaks that is never shown: the feed asks for a snapshot instead, and counts it.
 */
export class Feed {
  constructor(dialogue) {
    this.dialogue = dialogue;
    // {epoch, seq} up to which everything is known; null until the first snapshot.
    this.position = null;
    // Times that the numbers did not fit. Anything but 0 is a bug of the server or of this page.
    this.gaps = 0;
  }

  /** The server's answer to `attach`. Unless it resumed, a snapshot follows and nothing else counts until then. */
  attached({ resumed }) {
    if (!resumed) this.position = null;
  }

  /** What to do with an event: 'apply' it, 'drop' it, or treat it as a 'gap'. */
  take(event) {
    if (event.event === 'dialogue.snapshot') {
      this.position = { epoch: event.epoch, seq: event.seq };
      return 'apply';
    }
    if (event.event === 'dialogue.closed') return 'apply';
    if (this.position === null) return 'drop';
    const first = event.first_seq ?? event.seq;
    if (event.epoch !== this.position.epoch || first !== this.position.seq + 1) {
      this.position = null;
      this.gaps += 1;
      return 'gap';
    }
    this.position = { epoch: event.epoch, seq: event.seq };
    return 'apply';
  }
}

/** Milliseconds until attempt number `attempt` (from 0): anything between nothing and a doubling bound. */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(20_000, 1_000 * 2 ** attempt);
}

/** Whether a socket closed with this code may be opened again unasked. */
export function mayReconnect(code) {
  return code < 4500;
}
