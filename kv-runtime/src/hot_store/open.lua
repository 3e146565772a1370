-- Lets a partition take entries, under a scheme by which they go to Redis.
--
-- KEYS: the partition's state and stream.
-- ARGV: the scheme, the number of partitions, the place that the queue goes on from where it was
--   written past, or nothing.

local call = redis.call
local state, stream, from = KEYS[1], KEYS[2], ARGV[3]
-- With its memory full, Redis lets a script go on that has begun with what takes none.
call('HDEL', state, 'switch')
local before = call('HGET', state, 'scheme')
call('HSET', state, 'scheme', ARGV[1])
local newest = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
newest = newest and newest[1] or '0-0'
if call('EXISTS', stream) == 1 then
  if CLOSED[before or ''] then
    call('XSETID', stream, is_younger(from, newest) and from or newest)
  end
elseif from ~= '0-0' then
  -- It is gone at once; what is left is a stream that goes on from here.
  call('XADD', stream, from, 'change', '')
  call('XTRIM', stream, 'MAXLEN', 0)
end
call('HSET', state, 'partitions', ARGV[2])
if from ~= '0-0' and not is_younger(newest, from) then
  call('HSET', state, 'position', from, 'retained', call('XLEN', stream))
end
return 1
