-- Removes a clean row.
--
-- KEYS: a row.
-- Answers 1, or 0 where the row has an undrained entry and was left alone.

if redis.call('TTL', KEYS[1]) == -1 then
  -- Dirty rows, and they alone, have no time to live.
  return answer(0)
end
local meta = redis.pcall('HGET', KEYS[1], '@')
if type(meta) == 'string' and string.find(meta, 'reading !', 1, true) == 1 then
  -- A writer keeps it out, and still has to.
  return answer(1)
end
release_values(KEYS[1])
redis.call('DEL', KEYS[1])
return answer(1)
