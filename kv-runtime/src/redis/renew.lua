-- Has a lock last longer, if it is still its owner's.
--
-- KEYS: the lock. ARGV: the owner's token, the time to live in milliseconds.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
