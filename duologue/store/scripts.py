"""What runs inside the store's server: the only code that writes a dialogue's keys.

A script is atomic: nobody sees half of it, and it runs as a whole or, refused before its first write, not at
all. The `#!lua` line asks the server to check its flags first (memory, replica, disk), so a server that is
full refuses a script before it has written anything; it needs Redis 7.0 or any Valkey. Each script touches
only the three keys that it is given, which share one hash tag and with it one slot of a cluster.

    KEYS[1]  head, a hash: term, nonce (the owner), write (id of the last write), state and meta (encoded)
    KEYS[2]  log, a list of encoded records; its length is the log index
    KEYS[3]  ids, a hash: client message id to message id

A head without `meta` is the tombstone of a deleted dialogue: its term alone, and no nonce that anybody has.
"""

from hashlib import sha1
from typing import Final

__all__ = ["Script", "APPEND", "CREATE", "CLAIM", "HEAD", "DELETE"]


class Script:
    """A script and the name that the server knows it by once it has seen it."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()


# A head as the caller reads it, or false: term, nonce, write, state, meta, log index.
_VIEW: Final = """
local function view()
  local head = redis.call('HMGET', KEYS[1], 'term', 'nonce', 'write', 'state', 'meta')
  if not head[5] then return false end
  head[3] = head[3] or ''
  head[6] = redis.call('LLEN', KEYS[2])
  return head
end
"""

# Retention: every write puts the end of all keys off by the same time.
_KEEP: Final = """
local function keep(milliseconds)
  if milliseconds == '0' then return end
  for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], milliseconds) end
end
"""

APPEND: Final = Script(
    "#!lua\n"
    + _KEEP
    + """
-- ARGV: term, nonce, write, expected log index, ttl in ms, state, number of records,
--       the records, then pairs of client message id and message id.
-- Returns the new log index, or {'moved'}, {'log', actual index} or {'id'}, having written nothing.
local owner = redis.call('HMGET', KEYS[1], 'term', 'nonce', 'write')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return {'moved'} end
local length = redis.call('LLEN', KEYS[2])
if owner[3] == ARGV[3] then return length end
if length ~= tonumber(ARGV[4]) then return {'log', length} end
local last = 7 + tonumber(ARGV[7])
for i = last + 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1 then return {'id'} end
end
-- In pieces, since Lua's stack holds no more than some thousand values.
for first = 8, last, 1000 do
  length = redis.call('RPUSH', KEYS[2], unpack(ARGV, first, math.min(first + 999, last)))
end
redis.call('HSET', KEYS[1], 'write', ARGV[3], 'state', ARGV[6])
for i = last + 1, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
keep(ARGV[5])
return length
"""
)

CREATE: Final = Script(
    "#!lua\n"
    + _VIEW
    + _KEEP
    + """
-- ARGV: nonce, ttl in ms, state, meta. Returns {1 if new or 0, head}.
local new = 0
if redis.call('HEXISTS', KEYS[1], 'meta') == 0 then
  local term = redis.call('HGET', KEYS[1], 'term') or '0'
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'term', term, 'state', ARGV[3], 'meta', ARGV[4])
  new = 1
end
redis.call('HINCRBY', KEYS[1], 'term', 1)
redis.call('HSET', KEYS[1], 'nonce', ARGV[1])
keep(ARGV[2])
return {new, view()}
"""
)

CLAIM: Final = Script(
    "#!lua\n"
    + _VIEW
    + """
-- ARGV: nonce. Returns the head, owned by the caller, or nil.
if redis.call('HEXISTS', KEYS[1], 'meta') == 0 then return false end
redis.call('HINCRBY', KEYS[1], 'term', 1)
redis.call('HSET', KEYS[1], 'nonce', ARGV[1])
return view()
"""
)

HEAD: Final = Script("#!lua flags=no-writes\n" + _VIEW + "return view()\n")

# Allowed in a full server: deleting is how it becomes less full.
DELETE: Final = Script(
    """#!lua flags=allow-oom
-- ARGV: the tombstone's time in ms. Returns 1, or 0 when there was nothing.
if redis.call('HEXISTS', KEYS[1], 'meta') == 0 then return 0 end
local term = redis.call('HGET', KEYS[1], 'term')
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'term', term)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
)
