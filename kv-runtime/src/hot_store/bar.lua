-- Removes a row that PostgreSQL has, and keeps readers from putting it here while it is written
-- there.
--
-- KEYS: a row. ARGV: a token, its time to live in milliseconds.
-- Answers 1, or 0 where the row has an entry, and is left alone.
--
-- No reader shares the token: `!` tells it from theirs. Where several write, each has one of its own.

local meta = redis.call('HGET', KEYS[1], '@')
if meta and string.find(meta, 'reading !', 1, true) == 1 then
  redis.call('HSET', KEYS[1], '@', meta .. ' !' .. ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if meta and not string.find(meta, '^reading ') and string.sub(meta, -7) ~= ' filled' then
  return 0
end
clear(KEYS[1])
redis.call('HSET', KEYS[1], '@', 'reading !' .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
