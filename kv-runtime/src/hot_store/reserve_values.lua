-- Leaves a token under the keys of unique values that have none, so that only its holders may say
-- whose they are.
--
-- KEYS: keys of values. ARGV: a token, its time to live in milliseconds.
-- Answers what is under each of them then.

local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('GET', key)
  if not found[i] then
    found[i] = 'reading ' .. ARGV[1]
    redis.call('SET', key, found[i], 'PX', ARGV[2])
  end
end
return found
