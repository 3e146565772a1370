-- Lets a partition take nothing any more, for good: its queue has other partitions.
--
-- KEYS: the partition's state and stream. ARGV: how long its drained entries are kept, in milliseconds.
--
-- A retry may ask for its first try for a while. The state stays: it tells who has slept meanwhile.

-- With its memory full, Redis lets a script go on that has begun with what takes none.
redis.call('HDEL', KEYS[1], 'switch')
redis.call('HSET', KEYS[1], 'scheme', 'moved')
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('XSETID', KEYS[2], '18446744073709551615-18446744073709551615')
  if redis.call('TTL', KEYS[2]) < 0 then
    redis.call('PEXPIRE', KEYS[2], ARGV[1])
  end
end
return 1
