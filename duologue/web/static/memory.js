/** What this browser remembers between visits: the last dialogue and those that it takes part in. */

const LAST = 'duologue.last';
const MINE = 'duologue.mine';
const MINE_MAX = 200;

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Without storage the page works all the same; it only forgets.
  }
}

function mine() {
  try {
    const ids = JSON.parse(read(MINE) ?? '[]');
    return Array.isArray(ids) ? ids : [];
  } catch {
    return [];
  }
}

export const memory = {
  get last() {
    return read(LAST) || null;
  },
  set last(id) {
    write(LAST, id ?? '');
  },
  isMine: (id) => mine().includes(id),
  takePart: (id) => write(MINE, JSON.stringify([id, ...mine().filter((other) => other !== id)].slice(0, MINE_MAX))),
};

/** What the address asks for: {mode: 'chat' | 'watch', id} · {mode: 'new'} · {mode: 'any'} where it says nothing. */
export function readRoute(hash = location.hash) {
  const found = /^#(d|watch)\/([A-Za-z0-9._~-]{1,128})$/.exec(hash);
  if (found) return { mode: found[1] === 'd' ? 'chat' : 'watch', id: found[2] };
  return hash === '#new' ? { mode: 'new', id: null } : { mode: 'any', id: null };
}

/** The address of a route. */
export function hashOf({ mode, id }) {
  return mode === 'new' ? '#new' : `#${mode === 'watch' ? 'watch' : 'd'}/${id}`;
}
