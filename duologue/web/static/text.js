/**
 * Text that a model or a stranger wrote, made harmless to look at.
 *
 * Nothing here escapes anything: the page never makes markup out of text. What is taken out are characters that
 * change how the *other* characters look (bidirectional overrides), that hide a message within the message (tags,
 * zero-width characters, variation selectors) or that only a terminal understands.
 */

const ANSI = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/gu;
const LINE_LIKE = /[\u000b\u000c\u0085\u2028\u2029]/gu;
const CONTROL = /[\u0000-\u0008\u000e-\u001f\r\u007f-\u009f\ufff9-\ufffb]/gu;
const LONE_SURROGATE = /\p{Cs}/gu;
// Joiners and the two presentation selectors carry meaning in emoji and many scripts; they are judged below.
const INVISIBLE = /(?![\u200c\u200d\ufe0e\ufe0f])\p{Default_Ignorable_Code_Point}/gu;
const JOINERS = /[\u200c\u200d\ufe0e\ufe0f]+/gu;

/** One run of joiners, cut down to what an emoji or a letter before it can use. */
function keepJoiners(run, at, whole) {
  const before = at === 0 ? '' : whole[at - 1];
  if (before === '' || before <= '\u007f') return /[0-9#*]/.test(before) && run[0] === '\ufe0f' ? '\ufe0f' : '';
  return /^[\ufe0e\ufe0f]?[\u200c\u200d]?/.exec(run)[0];
}

/** The text without hidden and deceiving characters. Never adds or removes a "\n". */
export function clean(text) {
  return text
    .replace(ANSI, '')
    .replace(LINE_LIKE, ' ')
    .replace(CONTROL, '')
    .replace(LONE_SURROGATE, '\ufffd')
    .replace(INVISIBLE, '')
    .replace(JOINERS, keepJoiners);
}

/** How many code points the text has: the unit of `offset` on the wire. */
export function codePoints(text) {
  let count = text.length;
  for (let at = 0; at < text.length - 1; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit >= 0xd800 && unit <= 0xdbff) {
      count -= 1;
      at += 1;
    }
  }
  return count;
}

/** Size in bytes of the text as UTF-8: the unit of the limit on messages. */
export function utf8Bytes(text) {
  return new TextEncoder().encode(text).length;
}

const SCHEMES = new Set(['http:', 'https:', 'mailto:']);

/** An absolute http, https or mailto address in normal form, or null when it is anything else. */
export function safeUrl(raw) {
  const text = clean(raw).trim();
  if (text.length > 2048 || !/^(?:https?:\/\/|mailto:)/i.test(text)) return null;
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  // "https://bank.example@evil.example" exists to deceive.
  if (!SCHEMES.has(url.protocol) || url.username !== '' || url.password !== '') return null;
  return url.href;
}
