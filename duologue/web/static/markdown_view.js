/**
 * Safe Markdown as DOM nodes, growing with the text.
 *
 * Every node is made by name from a fixed list and every word is a text node: there is no way from the text to
 * markup, and nothing in it is fetched. Images are shown as links with their description.
 */

import { clean } from './text.js';
import { parseBlocks } from './markdown.js';
import { parseInline } from './markdown_inline.js';

/** Shows one message's Markdown in `root`, which must be empty and left to this object. */
export class MarkdownView {
  constructor(root) {
    this.root = root;
    this.raw = '';
    this.streaming = false;
    // Blocks on show, in order: {source, block, node}. Those before `tail.index` are final.
    this.shown = [];
    this.tail = { index: 0, offset: 0 };
  }

  /** Show `raw`. Where it goes on from the text before, only its last blocks are made anew. */
  update(raw, { streaming = false } = {}) {
    if (raw === this.raw && streaming === this.streaming) return;
    if (!raw.startsWith(this.raw)) this.tail = { index: 0, offset: 0 };
    this.raw = raw;
    this.streaming = streaming;

    const rawTail = raw.slice(this.tail.offset);
    const lines = clean(rawTail).replaceAll('\t', '    ').split('\n');
    const blocks = parseBlocks(lines);
    blocks.forEach((block, index) => this.show(block, lines, index, streaming && index === blocks.length - 1));
    for (const { node } of this.shown.splice(this.tail.index + blocks.length)) node.remove();
    this.advance(blocks, lines, rawTail);
  }

  show(block, lines, index, open) {
    const place = this.tail.index + index;
    const source = lines.slice(block.first, block.next).join('\n');
    const old = this.shown[place];
    if (old && old.source === source && old.open === open && old.block.type === block.type) return;
    if (old && extendCode(old, block)) {
      Object.assign(old, { source, open, block });
      return;
    }
    const node = renderBlock(block, open);
    if (old) old.node.replaceWith(node);
    else this.root.append(node);
    this.shown[place] = { source, open, block, node };
  }

  /** Move the tail to the start of the last block that begins on a whole line: all before it is final. */
  advance(blocks, lines, rawTail) {
    let last = blocks.length - 1;
    if (last > 0 && blocks[last].first === lines.length - 1) last -= 1;
    if (last <= 0) return;
    let offset = 0;
    // Cleaning keeps every line end, so lines of the clean and of the raw text are the same ones.
    for (let line = 0; line < blocks[last].first; line += 1) offset = rawTail.indexOf('\n', offset) + 1;
    this.tail = { index: this.tail.index + last, offset: this.tail.offset + offset };
  }
}

/** A growing block of code keeps its node (and the reader's selection and scroll) and gets more text. */
function extendCode(old, block) {
  if (old.block.type !== 'code' || block.type !== 'code' || old.block.language !== block.language) return false;
  if (!block.text.startsWith(old.block.text)) return false;
  const code = old.node.querySelector('code');
  if (code.firstChild) code.firstChild.appendData(block.text.slice(old.block.text.length));
  else code.textContent = block.text;
  return true;
}

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function renderBlock(block, open) {
  switch (block.type) {
    case 'heading': return withInline(element(`h${Math.min(block.level + 2, 6)}`, `level-${block.level}`), block.text, open);
    case 'code': return renderCode(block);
    case 'rule': return document.createElement('hr');
    case 'quote': return element('blockquote', '', ...renderAll(block.blocks, open));
    case 'list': return renderList(block, open);
    case 'table': return renderTable(block, open);
    default: return withInline(element('p'), block.text, open);
  }
}

function renderAll(blocks, open) {
  return blocks.map((block, index) => renderBlock(block, open && index === blocks.length - 1));
}

function renderList(block, open) {
  const node = document.createElement(block.ordered ? 'ol' : 'ul');
  if (block.ordered && block.start !== 1) node.start = block.start;
  block.items.forEach((item, index) => {
    const itemOpen = open && index === block.items.length - 1;
    const line = element('li', item.checked === null ? '' : 'task');
    if (item.checked !== null) line.append(item.checked ? '☑ ' : '☐ ');
    item.blocks.forEach((inner, at) => {
      const innerOpen = itemOpen && at === item.blocks.length - 1;
      // A tight list's words stand in the item itself, without a paragraph's distance.
      if (inner.type === 'paragraph' && !block.loose) withInline(line, inner.text, innerOpen);
      else line.append(renderBlock(inner, innerOpen));
    });
    node.append(line);
  });
  return node;
}

function renderTable({ align, head, rows }, open) {
  const row = (texts, name, last) => element('tr', '', ...texts.map((text, column) => {
    const cell = element(name, `align-${align[column]}`);
    if (name === 'th') cell.scope = 'col';
    return withInline(cell, text, last);
  }));
  const body = rows.map((texts, index) => row(texts, 'td', open && index === rows.length - 1));
  const table = element('table', '', element('thead', '', row(head, 'th', false)), element('tbody', '', ...body));
  const scroller = element('div', 'table-scroll', table);
  scroller.tabIndex = 0;
  scroller.setAttribute('role', 'region');
  scroller.setAttribute('aria-label', 'Table');
  return scroller;
}

function renderCode({ language, text }) {
  const copy = element('button', 'copy-code', 'Copy');
  copy.type = 'button';
  const code = element('code', '', text);
  copy.addEventListener('click', () => copyText(code.textContent, copy));
  const pre = element('pre', '', code);
  pre.tabIndex = 0;
  pre.setAttribute('aria-label', language ? `Code, ${language}` : 'Code');
  return element('div', 'code-block', element('div', 'code-bar', element('span', 'language', language || 'text'), copy), pre);
}

function withInline(parent, text, open) {
  appendInline(parent, parseInline(text, { open }));
  return parent;
}

function appendInline(parent, nodes) {
  for (const node of nodes) {
    switch (node.type) {
      case 'text': parent.append(node.text); break;
      case 'break': parent.append(document.createElement('br')); break;
      case 'code': parent.append(element('code', '', node.text)); break;
      case 'link': parent.append(renderLink(node.href, node.children)); break;
      case 'image': parent.append(renderImage(node)); break;
      default: {
        const styled = document.createElement(node.type);
        appendInline(styled, node.children);
        parent.append(styled);
      }
    }
  }
}

function renderLink(href, children) {
  const link = document.createElement('a');
  link.href = href;
  link.target = '_blank';
  link.rel = 'noopener noreferrer nofollow';
  link.referrerPolicy = 'no-referrer';
  link.title = href;
  appendInline(link, children);
  return link;
}

function renderImage({ href, alt }) {
  const words = `[image${alt ? `: ${alt}` : ''}]`;
  return href === null ? document.createTextNode(words) : renderLink(href, [{ type: 'text', text: words }]);
}

/** Put text on the clipboard and say so on the button for a moment. */
export async function copyText(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Not allowed';
  }
  button.disabled = true;
  setTimeout(() => {
    button.textContent = label;
    button.disabled = false;
  }, 1500);
}
