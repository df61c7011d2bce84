/**
 * The inside of a paragraph: text to a tree of plain objects. Pure.
 *
 * Nodes: {type: 'text', text} · {type: 'break'} · {type: 'code', text} · {type: 'em' | 'strong' | 'del', children}
 * · {type: 'link', href, children} · {type: 'image', href: string | null, alt}.
 *
 * CommonMark in all that models write, with two differences: raw HTML is text, and a line end is a line break.
 * Time is linear in the length: open markers live on a stack of bounded height, and one that finds it full is text.
 */

import { clean, safeUrl } from './text.js';

const STACK_MAX = 24;
const PLAIN = /[^\\`*_~[\]!<&\nh]+/y;
const BARE_URL = /https?:\/\/[^\s<>"`|\\^{}]+/iy;
const ANGLE_URL = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/iy;
const ANGLE_MAIL = /<([^\s<>@]{1,64}@[^\s<>@]{1,255})>/y;
const LINE_BREAK_TAG = /<br ?\/?>/iy;
// The bounds on spaces keep a line of nothing else from being tried at every length.
const DESTINATION =
  /\(\s{0,9}(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s{1,9}(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s{0,9}\)/y;
const ENTITY = /&(?:#([0-9]{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,6}));/iy;
const ENTITIES = new Map(Object.entries({
  amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', hellip: '…', mdash: '—', ndash: '–',
  times: '×', rarr: '→', larr: '←', copy: '©', deg: '°', le: '≤', ge: '≥', ne: '≠',
}));
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const WORD = /[\p{L}\p{N}]/u;

const isSpace = (char) => char === '' || /\s/.test(char);
const isPunctuation = (char) => char !== '' && ESCAPABLE.test(char);
const STYLES = { 1: 'em', 2: 'strong' };

/**
 * Parse one paragraph, heading or cell.
 *
 * `open` says that the text is still being written: emphasis and code that were opened and not yet closed are
 * shown as if closed, so that markers do not flash by.
 */
export function parseInline(text, { open = false } = {}) {
  return new Parser(text, open).parse();
}

class Parser {
  constructor(text, open) {
    this.text = text;
    this.open = open;
    this.at = 0;
    // Frames hold what was read since an open marker; the first one is the paragraph itself.
    this.stack = [{ marker: '', size: 0, nodes: [] }];
    this.tickRuns = null;
  }

  parse() {
    while (this.at < this.text.length) this.step();
    while (this.stack.length > 1) this.collapse(this.open);
    return this.stack[0].nodes;
  }

  step() {
    const plain = this.match(PLAIN);
    if (plain) return this.addText(plain[0]);
    switch (this.text[this.at]) {
      case '\\': return this.escape();
      case '`': return this.code();
      case '*': case '_': case '~': return this.emphasis();
      case '[': return this.openBracket('[');
      case '!': return this.text[this.at + 1] === '[' ? this.openBracket('![') : this.literal(1);
      case ']': return this.closeBracket();
      case '<': return this.angle();
      case '&': return this.entity();
      case 'h': return this.bareUrl();
      default: return this.lineBreak();
    }
  }

  // ── building ──────────────────────────────────────────────────────────────────────────────────────────────

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  get nodes() {
    return this.stack[this.stack.length - 1].nodes;
  }

  addText(text) {
    appendText(this.nodes, text);
  }

  literal(length) {
    this.addText(this.text.slice(this.at, this.at + length));
    this.at += length;
  }

  /** Take the top frame down: as its style when `closed`, else its marker becomes text again. */
  collapse(closed) {
    const frame = this.stack.pop();
    const style = frame.marker === '~' ? 'del' : STYLES[frame.size];
    const emphasis = frame.marker !== '[' && frame.marker !== '![';
    if (closed && emphasis && frame.nodes.length > 0) {
      this.nodes.push({ type: style, children: frame.nodes });
      return;
    }
    this.addText(emphasis ? frame.marker.repeat(frame.size) : frame.marker);
    for (const node of frame.nodes) node.type === 'text' ? this.addText(node.text) : this.nodes.push(node);
  }

  // ── one construct each ────────────────────────────────────────────────────────────────────────────────────

  escape() {
    const next = this.text[this.at + 1] ?? '';
    if (next === '\n') {
      this.at += 1;
      return this.lineBreak();
    }
    if (!isPunctuation(next)) return this.literal(1);
    this.at += 1;
    return this.literal(1);
  }

  lineBreak() {
    this.at += 1;
    this.nodes.push({ type: 'break' });
  }

  entity() {
    const found = this.match(ENTITY);
    if (!found) return this.literal(1);
    const [whole, decimal, hex, name] = found;
    if (name !== undefined) return this.addText(ENTITIES.get(name) ?? whole);
    const point = decimal !== undefined ? Number.parseInt(decimal, 10) : Number.parseInt(hex, 16);
    return this.addText(point === 0 || point > 0x10ffff ? '\ufffd' : clean(String.fromCodePoint(point)));
  }

  code() {
    const size = this.runLength('`');
    const close = this.closingTicks(size);
    if (close === null && !(this.open && this.at + size < this.text.length)) return this.literal(size);
    const end = close ?? this.text.length;
    let text = this.text.slice(this.at + size, end).replaceAll('\n', ' ');
    if (text.startsWith(' ') && text.endsWith(' ') && text.trim() !== '') text = text.slice(1, -1);
    this.nodes.push({ type: 'code', text });
    this.at = close === null ? end : close + size;
    return undefined;
  }

  /** Where a run of exactly `size` backticks begins after this one; every run is looked at once. */
  closingTicks(size) {
    if (this.tickRuns === null) {
      this.tickRuns = new Map();
      for (const run of this.text.matchAll(/`+/g)) {
        const places = this.tickRuns.get(run[0].length) ?? { next: 0, starts: [] };
        places.starts.push(run.index);
        this.tickRuns.set(run[0].length, places);
      }
    }
    const places = this.tickRuns.get(size);
    if (!places) return null;
    while (places.next < places.starts.length && places.starts[places.next] <= this.at) places.next += 1;
    return places.starts[places.next] ?? null;
  }

  runLength(char) {
    let end = this.at;
    while (this.text[end] === char) end += 1;
    return end - this.at;
  }

  emphasis() {
    const char = this.text[this.at];
    const length = this.runLength(char);
    const { opens, closes } = flanking(char, this.text[this.at - 1] ?? '', this.text[this.at + length] ?? '');
    const start = this.at;
    this.at += length;
    if (char === '~' && length !== 2) return this.addText(this.text.slice(start, this.at));
    let left = length;
    while (closes && left > 0) {
      const closed = this.closeEmphasis(char, left);
      if (closed === 0) break;
      left -= closed;
    }
    while (opens && left > 0 && this.stack.length < STACK_MAX) {
      const size = Math.min(left, 2);
      this.stack.push({ marker: char, size, nodes: [] });
      left -= size;
    }
    if (left > 0) this.addText(char.repeat(left));
    return undefined;
  }

  /** Close the nearest open marker that fits; how many characters that took, 0 when none fits. */
  closeEmphasis(char, left) {
    const sizes = char === '~' ? [2] : left >= 2 ? [2, 1] : [1];
    const top = this.stack[this.stack.length - 1];
    const below = this.stack[this.stack.length - 2];
    // "***a** b*": the run was opened as 2 then 1, and closes in the other order.
    if (left === 2 && top.marker === char && top.size === 1 && below.marker === char && below.size === 2
        && below.nodes.length === 0) {
      [top.size, below.size] = [2, 1];
    }
    for (let height = this.stack.length - 1; height > 0; height -= 1) {
      const frame = this.stack[height];
      if (frame.marker === '[' || frame.marker === '![') return 0;
      if (frame.marker !== char || !sizes.includes(frame.size)) continue;
      while (this.stack.length - 1 > height) this.collapse(false);
      if (frame.nodes.length === 0) return 0;
      this.collapse(true);
      return frame.size;
    }
    return 0;
  }

  openBracket(marker) {
    if (this.stack.length >= STACK_MAX) return this.literal(marker.length);
    this.stack.push({ marker, size: 1, nodes: [], active: true });
    this.at += marker.length;
    return undefined;
  }

  closeBracket() {
    let height = this.stack.length - 1;
    while (height > 0 && this.stack[height].marker !== '[' && this.stack[height].marker !== '![') height -= 1;
    this.at += 1;
    if (height === 0) return this.addText(']');
    const frame = this.stack[height];
    const target = frame.active ? this.match(DESTINATION) : null;
    while (this.stack.length - 1 > height) this.collapse(false);
    if (!target) {
      this.collapse(false);
      return this.addText(']');
    }
    this.stack.pop();
    this.addTarget(frame, (target[1] ?? target[2]).replace(/\\([!-/:-@[-`{-~])/g, '$1'));
    return undefined;
  }

  addTarget(frame, destination) {
    const href = safeUrl(destination);
    if (frame.marker === '![') {
      this.nodes.push({ type: 'image', href, alt: plainText(frame.nodes) });
      return;
    }
    for (const outer of this.stack) if (outer.marker === '[') outer.active = false;
    const children = withoutLinks(frame.nodes);
    if (href !== null && children.length > 0) this.nodes.push({ type: 'link', href, children });
    else for (const node of children) this.nodes.push(node);
  }

  angle() {
    if (this.match(LINE_BREAK_TAG)) return void this.nodes.push({ type: 'break' });
    const before = this.at;
    const url = this.match(ANGLE_URL);
    const mail = url ? null : this.match(ANGLE_MAIL);
    const label = url?.[1] ?? mail?.[1];
    const href = label === undefined ? null : safeUrl(mail ? `mailto:${label}` : label);
    if (href !== null) return this.addLink(href, label);
    this.at = before;
    return this.literal(1);
  }

  bareUrl() {
    const before = this.text[this.at - 1] ?? '';
    BARE_URL.lastIndex = this.at;
    const found = WORD.test(before) ? null : BARE_URL.exec(this.text);
    const label = found ? withoutTrailingMarks(found[0]) : '';
    const href = safeUrl(label);
    if (href === null) return this.literal(1);
    this.at += label.length;
    return this.addLink(href, label);
  }

  addLink(href, label) {
    this.nodes.push({ type: 'link', href, children: [{ type: 'text', text: label }] });
  }
}

/** CommonMark's rule of left- and right-flanking runs; only ASCII punctuation counts, which suits CJK text. */
function flanking(char, before, after) {
  const left = !isSpace(after) && (!isPunctuation(after) || isSpace(before) || isPunctuation(before));
  const right = !isSpace(before) && (!isPunctuation(before) || isSpace(after) || isPunctuation(after));
  if (char !== '_') return { opens: left, closes: right };
  return { opens: left && (!right || isPunctuation(before)), closes: right && (!left || isPunctuation(after)) };
}

/** An address in running text without the sentence's own marks after it. */
function withoutTrailingMarks(url) {
  let end = url.length;
  let unbalanced = 0;
  for (const char of url) unbalanced += char === ')' ? 1 : char === '(' ? -1 : 0;
  for (; end > 0; end -= 1) {
    const last = url[end - 1];
    if (last === ')' && unbalanced > 0) unbalanced -= 1;
    else if (!/[?!.,:;*_~'\]]/.test(last)) break;
  }
  return url.slice(0, end);
}

function appendText(nodes, text) {
  const last = nodes[nodes.length - 1];
  if (last?.type === 'text') last.text += text;
  else if (text !== '') nodes.push({ type: 'text', text });
}

/** A link holds no link: those inside are reduced to their words. */
function withoutLinks(nodes) {
  return nodes.flatMap((node) => {
    if (node.type === 'link') return withoutLinks(node.children);
    if (node.type === 'image') return [{ type: 'text', text: node.alt }];
    return node.children ? [{ ...node, children: withoutLinks(node.children) }] : [node];
  });
}

/** The words of a tree, without its styles. */
export function plainText(nodes) {
  return nodes.map((node) => {
    if (node.type === 'break') return ' ';
    return node.text ?? node.alt ?? plainText(node.children);
  }).join('');
}
