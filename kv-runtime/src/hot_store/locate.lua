-- Tells where an entry stands.
--
-- KEYS: its partition's state and stream.
-- ARGV: the entry, its operation id, and 1 to touch the partition, else 0.
-- Answers whether the entry is there (1, else 0), the settled position, and what the stream is
-- trimmed before.
--
-- A touch changes nothing, but it is a write: WAIT is about the writes of its own connection, and
-- those before them. It is left out where the entry is gone: then WAIT would say something about
-- another server than the one that took the entry.

local call = redis.call
local entry = call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
-- The header is the first value; the operation id is its fourth word, behind an id that may be empty.
local is_there = entry and string.match(entry[2][2], '^%S+ %S+ %S* (%S+)') == ARGV[2]
if is_there and ARGV[3] == '1' then
  -- With its memory full, Redis lets a script go on that has begun with what takes none.
  call('HDEL', KEYS[1], '')
  call('HINCRBY', KEYS[1], 'retained', 0)
end
local state = call('HMGET', KEYS[1], 'position', 'trimmed', 'scheme')
if not is_there and state[3] == 'moved' then
  -- All was drained before the queue got other partitions, and is not kept for good.
  return { 0, state[1] or '0-0', '18446744073709551615-18446744073709551615' }
end
return { is_there and 1 or 0, state[1] or '0-0', state[2] or '0-0' }
