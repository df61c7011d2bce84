// Runs in every page before its own scripts. Writes down what must never be: at any moment, not only at the end.
(() => {
  const TAGS = new Set(('ARTICLE H2 H3 H4 H5 H6 P DIV SPAN BUTTON TEXTAREA BR HR EM STRONG DEL CODE PRE A UL OL LI BLOCKQUOTE '
    + 'TABLE THEAD TBODY TR TH TD').split(' '));
  const ATTRIBUTES = new Set(('class dir hidden type aria-label aria-busy aria-hidden data-state data-phase tabindex role '
    + 'scope start href target rel title referrerpolicy disabled rows').split(' '));
  const REL = 'noopener noreferrer nofollow';
  const watched = { violations: [], tags: [], attributes: [], links: [], texts: [] };
  globalThis.watched = watched;
  globalThis.pwned = () => watched.tags.push('a script ran');

  document.addEventListener('securitypolicyviolation', (event) => {
    watched.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
  });

  function check(element) {
    if (!TAGS.has(element.tagName)) watched.tags.push(element.tagName);
    for (const { name, value } of element.attributes) {
      if (!ATTRIBUTES.has(name)) watched.attributes.push(`${element.tagName} ${name}`);
      if (name === 'href' && !/^(?:https?:\/\/|mailto:)/.test(value)) watched.links.push(value);
    }
    if (element.tagName === 'A' && (element.rel !== REL || element.target !== '_blank')) watched.links.push(element.outerHTML);
  }

  const hidden = /[\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\u{e0000}-\u{e007f}\u0000-\u0008\u001b]/u;
  function look(node) {
    if (node.nodeType === Node.TEXT_NODE && hidden.test(node.data)) watched.texts.push(JSON.stringify(node.data));
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    check(node);
    for (const child of node.childNodes) look(child);
  }

  new MutationObserver((records) => {
    const messages = document.getElementById('messages');
    for (const { target, addedNodes } of records) {
      if (!messages?.contains(target)) continue;
      if (target.nodeType === Node.TEXT_NODE) look(target);
      else if (target !== messages) check(target);
      for (const node of addedNodes) look(node);
    }
  }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
})();
