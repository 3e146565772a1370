-- Changes what is under the key of a unique value, where that is what it is expected to be.
--
-- KEYS: the key of a value. ARGV: what has to be under it, what is to be (empty: nothing), its time to
--   live in milliseconds (empty: as it was).

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == '' then
  -- Its row may have been settled meanwhile.
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
