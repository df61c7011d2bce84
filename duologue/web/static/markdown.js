/**
 * Lines of Markdown to a tree of blocks. Pure; the DOM is made of it in markdown_view.js.
 *
 * Blocks: {type: 'paragraph' | 'heading', level?, text} · {type: 'code', language, text} · {type: 'rule'}
 * · {type: 'quote', blocks} · {type: 'list', ordered, start, loose, items: [{checked, blocks}]}
 * · {type: 'table', align, head, rows}. Each has `first` and `next`: the lines that it covers.
 *
 * What models write, not all of CommonMark: raw HTML is text, "---" under a line is a rule (models mean one),
 * two spaces nest a list, and there are no reference links. A block that is followed by another one which begins
 * on a whole line never changes any more: that is what lets a growing text be shown without parsing it again.
 */

const DEPTH_MAX = 8;
const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|[0-9]{1,9}[.)])(?:[ \t]+(.*)|)$/;
const DELIMITER_ROW = /^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

const isBlank = (line) => line.trim() === '';
const indentOf = (line) => line.length - line.trimStart().length;

/** All blocks of these lines. */
export function parseBlocks(lines, depth = 0) {
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const block = parseBlock(lines, at, depth);
    blocks.push({ ...block, first: at });
    at = block.next;
  }
  return blocks;
}

function parseBlock(lines, at, depth) {
  const nested = depth < DEPTH_MAX;
  return fence(lines, at) ?? heading(lines, at) ?? rule(lines, at) ?? (nested ? quote(lines, at, depth) : null)
    ?? (nested ? list(lines, at, depth) : null) ?? table(lines, at) ?? indentedCode(lines, at)
    ?? paragraph(lines, at, nested);
}

function fence(lines, at) {
  const opening = FENCE.exec(lines[at]);
  if (!opening) return null;
  const [, indent, marks, info] = opening;
  const text = [];
  let next = at + 1;
  for (; next < lines.length; next += 1) {
    const closing = FENCE.exec(lines[next]);
    if (closing && closing[2][0] === marks[0] && closing[2].length >= marks.length && isBlank(closing[3])) {
      return { type: 'code', language: info.trim().split(/\s/)[0], text: text.join('\n'), next: next + 1 };
    }
    text.push(lines[next].slice(Math.min(indent.length, indentOf(lines[next]))));
  }
  return { type: 'code', language: info.trim().split(/\s/)[0], text: text.join('\n'), next };
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  if (!found) return null;
  const text = (found[2] ?? '').trim().replace(/(?:^|[ \t])#+$/, '').trim();
  return { type: 'heading', level: found[1].length, text, next: at + 1 };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { type: 'rule', next: at + 1 } : null;
}

function quote(lines, at, depth) {
  if (!QUOTE.test(lines[at])) return null;
  const inner = [];
  let next = at;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    if (QUOTE.test(line)) inner.push(line.replace(QUOTE, ''));
    else if (!isBlank(line) && !isBlank(inner[inner.length - 1]) && !beginsBlock(line)) inner.push(line);
    else break;
  }
  return { type: 'quote', blocks: parseBlocks(inner, depth + 1), next };
}

function marker(line) {
  const found = ITEM.exec(line);
  if (!found || RULE.test(line)) return null;
  const [, indent, mark, rest = ''] = found;
  const ordered = mark.length > 1;
  return {
    indent: indent.length,
    width: indent.length + mark.length + 1,
    kind: mark[mark.length - 1],
    number: ordered ? Number.parseInt(mark, 10) : null,
    rest,
  };
}

function list(lines, at, depth) {
  const head = marker(lines[at]);
  if (!head || head.indent > 3) return null;
  const items = [];
  let loose = false;
  let next = at;
  for (let found = head; found && found.kind === head.kind; found = next < lines.length ? marker(lines[next]) : null) {
    const item = listItem(lines, next, found);
    items.push(parseItem(item.inner, depth));
    const skipped = skipBlank(lines, item.next);
    const more = skipped < lines.length ? marker(lines[skipped]) : null;
    const goesOn = more !== null && more.kind === head.kind && more.indent < head.indent + 2;
    loose ||= item.gap || (goesOn && skipped > item.next);
    next = goesOn ? skipped : item.next;
    if (!goesOn) break;
  }
  return { type: 'list', ordered: head.number !== null, start: head.number ?? 1, loose, items, next };
}

/** The lines of one item, its indentation taken off. `gap`: a blank line stands between its parts. */
function listItem(lines, at, found) {
  const inner = [found.rest];
  let next = at + 1;
  let end = next;
  let gap = false;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    if (isBlank(line)) {
      inner.push('');
      continue;
    }
    const indent = indentOf(line);
    if (indent >= found.indent + 2) {
      gap ||= next > end && !marker(line);
      inner.push(line.slice(Math.min(indent, found.width)));
    } else if (next === end && !beginsBlock(line)) inner.push(line.trimStart());
    else break;
    end = next + 1;
  }
  return { inner: inner.slice(0, end - at), next: end, gap };
}

function parseItem(inner, depth) {
  const task = /^\[([ xX])\](?:[ \t]+|$)/.exec(inner[0]);
  if (task) inner[0] = inner[0].slice(task[0].length);
  return { checked: task ? task[1] !== ' ' : null, blocks: parseBlocks(inner, depth + 1) };
}

function skipBlank(lines, at) {
  let next = at;
  while (next < lines.length && isBlank(lines[next])) next += 1;
  return next;
}

function table(lines, at) {
  if (at + 1 >= lines.length || !lines[at].includes('|') || !DELIMITER_ROW.test(lines[at + 1])) return null;
  const head = cells(lines[at]);
  const align = cells(lines[at + 1]).map(alignment);
  if (head.length !== align.length) return null;
  const rows = [];
  let next = at + 2;
  for (; next < lines.length && !isBlank(lines[next]) && !beginsBlock(lines[next]); next += 1) {
    const row = cells(lines[next]).slice(0, head.length);
    while (row.length < head.length) row.push('');
    rows.push(row);
  }
  return { type: 'table', align, head, rows, next };
}

function cells(line) {
  const parts = [''];
  const text = line.trim();
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '\\' && text[at + 1] === '|') {
      parts[parts.length - 1] += '|';
      at += 1;
    } else if (text[at] === '|') parts.push('');
    else parts[parts.length - 1] += text[at];
  }
  if (parts.length > 1 && parts[0] === '') parts.shift();
  if (parts.length > 1 && parts[parts.length - 1] === '') parts.pop();
  return parts.map((part) => part.trim());
}

function alignment(cell) {
  if (cell.endsWith(':')) return cell.startsWith(':') ? 'center' : 'end';
  return 'start';
}

function indentedCode(lines, at) {
  if (!lines[at].startsWith('    ')) return null;
  let next = at;
  let end = at;
  for (; next < lines.length && (isBlank(lines[next]) || lines[next].startsWith('    ')); next += 1) {
    if (!isBlank(lines[next])) end = next + 1;
  }
  return { type: 'code', language: '', text: lines.slice(at, end).map((line) => line.slice(4)).join('\n'), next: end };
}

function paragraph(lines, at, nested) {
  let next = at + 1;
  while (next < lines.length && !isBlank(lines[next]) && !(nested && interrupts(lines[next])) && !table(lines, next)) {
    next += 1;
  }
  return { type: 'paragraph', text: lines.slice(at, next).map((line) => line.trim()).join('\n'), next };
}

/** Whether this line can't be the running-on of a lazy paragraph inside a quote or list. */
function beginsBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || marker(line) !== null;
}

/** Whether this line ends a paragraph: as above, but an empty item or one not numbered 1 is just words. */
function interrupts(line) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const found = marker(line);
  return found !== null && found.indent <= 3 && found.rest !== '' && (found.number ?? 1) === 1;
}
