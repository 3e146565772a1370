-- Takes a partition to be settled up to an entry, whatever was said before: for a queue, or a
-- PostgreSQL, that went back in time.
--
-- KEYS: the partition's state and stream. ARGV: the entry, the number of partitions.

local retained, from = 0, '-'
repeat
  local entries = redis.call('XRANGE', KEYS[2], from, ARGV[1], 'COUNT', 1000)
  retained = retained + #entries
  if #entries > 0 then
    from = '(' .. entries[#entries][1]
  end
until #entries < 1000
-- A write that frees memory comes first: after it, Redis allows the other though it is full.
redis.call('HDEL', KEYS[1], 'position')
redis.call('HSET', KEYS[1], 'position', ARGV[1], 'retained', retained, 'partitions', ARGV[2])
return retained
