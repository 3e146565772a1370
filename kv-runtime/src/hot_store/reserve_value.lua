-- Leaves a token under the key of a unique value that has none, so that only its holders may say whose
-- it is.
--
-- KEYS: the key of a value. ARGV: a token, its time to live in milliseconds.
-- Answers what is under it then. What was being taken until a time that is over, is late.

local found = redis.call('GET', KEYS[1])
if not found then
  found = 'reading ' .. ARGV[1]
  redis.call('SET', KEYS[1], found, 'PX', ARGV[2])
end
local nonce, deadline, partition, row = string.match(found, '^taking (%S+) (%d+) (%d+) (.+)$')
if nonce and tonumber(redis.call('TIME')[1]) * 1000 > tonumber(deadline) then
  found = 'late ' .. nonce .. ' ' .. deadline .. ' ' .. partition .. ' ' .. row
  redis.call('SET', KEYS[1], found)
end
return found
