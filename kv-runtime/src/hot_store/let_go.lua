-- Lets a row go whose content PostgreSQL may have otherwise.
--
-- KEYS: a row. ARGV: the partition's offset.
--
-- Without a younger entry it is removed, and the next read gets what PostgreSQL has. With one it
-- is marked, so that settling removes it instead of letting it expire. A row that is held by a
-- younger dead letter stays so.

local meta = redis.pcall('HGET', KEYS[1], '@')
if type(meta) ~= 'string' then
  return answer(0)
end
local newest = string.match(meta, '^%d+%-%d+')
if not newest then
  -- A reader that has asked PostgreSQL before may not put here what it found.
  redis.call('DEL', KEYS[1])
  return answer(1)
end
local letter = string.match(meta, ' (%d+%-%d+) held$')
if letter and is_younger(letter, ARGV[1]) then
  return answer(0)
end
if string.find(meta, ' filled', 1, true) or not is_younger(newest, ARGV[1]) then
  release_values(KEYS[1])
  redis.call('DEL', KEYS[1])
elseif string.sub(meta, -6) ~= ' stale' then
  -- With its memory full, Redis lets a script go on that has begun with what takes none. A time to
  -- live stays: the entry is settled then, and nobody would remove the row.
  redis.call('HDEL', KEYS[1], '')
  redis.call('HSET', KEYS[1], '@', string.gsub(meta, ' %d+%-%d+ held$', '') .. ' stale')
end
return answer(1)
