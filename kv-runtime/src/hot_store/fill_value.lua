-- Says whose a unique value is, where its token still is.
--
-- KEYS: the key of a value. ARGV: what has to be under it, what is to be, its time to live in
--   milliseconds.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
