-- Takes or renews the lease of a partition.
--
-- KEYS: the lease. ARGV: the owner's token, its time to live in milliseconds.
-- Answers 1, or 0 where it is another's.

local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 0
end
if owner then
  -- In a slot that is on its way a script may not put back a key that it has removed.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  -- A write that frees memory comes first: after it, Redis allows the others though it is full.
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
