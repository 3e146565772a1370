-- Leaves a token where a row is missing, so that only its holders may fill it.
--
-- KEYS: a row, its partition's state. ARGV: a token, its time to live in milliseconds, then the
--   columns' names.
-- Answers the row's metadata and columns; where the row is missing, the token in its place, or that
-- there is none (`reading -`) because the row is not to be put here; an error where the queue has
-- other partitions by now.
--
-- Whoever comes while a token is there shares it. It says that nobody has written since it was
-- left, which is all that a fill has to know; and where its first holder is gone, another fills.

local row = redis.call('HMGET', KEYS[1], '@', unpack(ARGV, 3))
if not row[1] then
  local scheme = redis.call('HGET', KEYS[2], 'scheme') or ''
  if is_moved(scheme) then
    return is_moved(scheme)
  elseif TAKES_NO_ROWS[scheme] then
    row[1] = 'reading -'
  else
    row[1] = 'reading ' .. ARGV[1]
    redis.call('HSET', KEYS[1], '@', row[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
return row
