-- Says of tenants that they were written to.
--
-- KEYS: the list, in which the empty name has the number of the last call. ARGV: the tenants.

-- A write that frees memory comes first: after it, Redis allows the others though it is full.
redis.call('ZREM', KEYS[1], ARGV[1])
local number = redis.call('ZINCRBY', KEYS[1], 1, '')
for _, tenant in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], number, tenant)
end
return 1
