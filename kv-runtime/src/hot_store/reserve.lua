-- Leaves a token where a row is missing, so that only its holder may fill it.
--
-- KEYS: a row. ARGV: the token, its time to live in milliseconds.
-- Answers the row's fields and values as they are; nothing where the token was left.

local row = redis.call('HGETALL', KEYS[1])
if #row == 0 or (row[1] == '@' and string.find(row[2], '^reading ')) then
  redis.call('HSET', KEYS[1], '@', 'reading ' .. ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {}
end
return row
