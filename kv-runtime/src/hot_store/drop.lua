-- Removes a row that PostgreSQL has, while its partition is closed.
--
-- KEYS: the partition's state, a row. ARGV: the switch that is to have closed the partition.
-- Answers 1, or 0 where it comes too late: the partition is open, or closed by another switch.

if redis.call('HGET', KEYS[1], 'switch') ~= ARGV[1] then
  return answer(0)
end
if type(redis.pcall('HGET', KEYS[2], '@')) == 'string' then
  release_values(KEYS[2])
  redis.call('DEL', KEYS[2])
end
return answer(1)
