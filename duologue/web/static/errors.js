/** What went wrong, in sentences for the person at the screen. */

/** An error of the wire (`code`, `message`, `retryable`) or one of ours: `disconnected`, `unreachable`, `no_answer`. */
export class WireError extends Error {
  constructor({ code, message = '', retryable = false, category = null }) {
    super(message);
    this.name = 'WireError';
    this.code = code;
    this.retryable = retryable;
    this.category = category;
  }
}

const SENTENCES = {
  disconnected: 'The connection was lost before the server confirmed this.',
  unreachable: 'The server can’t be reached.',
  no_answer: 'The server did not answer in time.',
  not_authenticated: 'The server wants a token.',
  forbidden: 'This server does not accept the page from this address.',
  not_found: 'This dialogue does not exist, or no longer.',
  conflict: 'Something else was sent under the same name.',
  busy: 'An answer is still being written. Send this again when it has ended.',
  message_too_large: 'This message is too long. The limit is 32 KiB.',
  frame_too_large: 'This message is too long for one frame.',
  rate_limited: 'Too many requests in a short time. Wait a moment and try again.',
  too_many: 'The server has as many as it takes. Try again later.',
  store_unavailable: 'The server can’t save messages at the moment, so this one was not taken. Try again.',
  draining: 'The server is about to restart. Your message is sent as soon as it is back.',
  moved: 'The dialogue has moved to another server. Connecting again.',
  not_saved: 'The answer came, but it could not be saved.',
  interrupted: 'The server was restarted while this answer was being written.',
  quarantined: 'This dialogue failed too often and is held back. Other dialogues are not affected.',
  timeout: 'The server took too long to answer.',
  internal: 'The server had a problem of its own.',
};

const CATEGORIES = {
  connect: 'the model’s service can’t be reached',
  disconnected: 'the model’s service hung up',
  timeout_first_token: 'the model took too long to begin',
  timeout_idle: 'the model stopped in the middle',
  timeout_total: 'the model took too long',
  rate_limited: 'the model’s service is getting too many requests',
  quota: 'the allowance at the model’s service is used up',
  unauthorized: 'the model’s service refused the key',
  forbidden: 'the model’s service refused access',
  not_found: 'the model’s service does not know this model',
  bad_request: 'the model’s service did not take the request',
  context_length: 'this dialogue has become too long for the model',
  content_filter: 'the model’s content filter refused',
  server_error: 'the model’s service had a problem',
  overloaded: 'the model’s service is overloaded',
  truncated: 'the answer broke off',
  malformed: 'the model’s service sent something unreadable',
  empty: 'the model had nothing to say',
  over_capacity: 'too many answers are being written at once',
  model_misconfigured: 'the model is not configured correctly',
};

const CLOSINGS = {
  4500: 'The server closed the connection because of bad requests.',
  4501: 'The server wants a token.',
  4503: 'The server refused this connection.',
  4508: 'There are too many connections from here. Close another tab, then connect again.',
};

/** One readable sentence, or two, for an error of the wire. */
export function sentence(error) {
  if (error.code === 'provider_failed') {
    const why = CATEGORIES[error.category];
    return why ? `No model could answer: ${why}.` : 'No model could answer.';
  }
  // The server writes these for people, with the name of what is to be mended.
  return SENTENCES[error.code] ?? (error.message || 'Something went wrong.');
}

/** Why nothing more comes of a dialogue. */
export function farewell(reason) {
  if (reason === 'deleted') return 'This dialogue was deleted.';
  return SENTENCES[reason] ?? 'This dialogue is closed.';
}

/** Why the server closed the socket for good. */
export function closing(code) {
  return CLOSINGS[code] ?? `The server closed the connection and asked not to come back (${code}).`;
}
