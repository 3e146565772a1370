-- Puts a row where its token still is: every write since would have removed it.
--
-- KEYS: a row.
-- ARGV: the token, the offset of the row's snapshot, its time to live in milliseconds, then
--   the names and values.

if redis.call('HGET', KEYS[1], '@') ~= 'reading ' .. ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], '@', ARGV[2] .. ' filled', unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
