-- Leaves a token where a row is missing, so that only its holder may fill it.
--
-- KEYS: a row. ARGV: the token, its time to live in milliseconds, then the columns' names.
-- Answers the row's metadata and columns as they are; nothing where the token was left.

local row = redis.call('HMGET', KEYS[1], '@', unpack(ARGV, 3))
if not row[1] or string.find(row[1], '^reading ') then
  redis.call('HSET', KEYS[1], '@', 'reading ' .. ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return row
