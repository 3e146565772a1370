-- Lets readers put a row here again, after it was written in PostgreSQL.
--
-- KEYS: a row. ARGV: the token that kept them from it.
--
-- The tokens of other writers stay. If this one is gone already, a reader may have put here what was
-- there before, or be about to.

local meta = redis.call('HGET', KEYS[1], '@')
if not meta then
  return 1
end
if string.find(meta, 'reading !', 1, true) == 1 then
  local others = ''
  for token in string.gmatch(meta, '!%S+') do
    if token ~= '!' .. ARGV[1] then
      others = others .. ' ' .. token
    end
  end
  if others == '' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('HSET', KEYS[1], '@', 'reading' .. others)
  end
elseif string.sub(meta, -7) == ' filled' or string.find(meta, '^reading ') then
  redis.call('DEL', KEYS[1])
end
return 1
