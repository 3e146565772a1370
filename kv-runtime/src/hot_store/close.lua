-- Lets a partition take no entries, and no rows from readers.
--
-- KEYS: the partition's state and stream.
-- ARGV: what the state says of it from then on, and the switch that has closed it (empty: none is
--   under way).
--
-- Where the queue has other partitions by now, the state goes on saying so.
--
-- A stream whose last id is the greatest there is takes no more entries: so a write has nothing to
-- look at that it would not look at anyway. Where there is no stream, a write looks at the state.

-- With its memory full, Redis lets a script go on that has begun with what takes none.
redis.call('HDEL', KEYS[1], '')
if redis.call('HGET', KEYS[1], 'scheme') ~= 'moved' then
  redis.call('HSET', KEYS[1], 'scheme', ARGV[1])
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], 'switch')
else
  redis.call('HSET', KEYS[1], 'switch', ARGV[2])
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('XSETID', KEYS[2], '18446744073709551615-18446744073709551615')
end
return 1
