-- A partition's queue, for the scripts that append to it: it stands in front of them.

local EXISTS, ABSENT, DELETED, FULL, UNPROBED, HELD, STALE = 1, 2, 3, 4, 5, 6, 7
local IS_NULL, OVERFLOW = 8, 9

local call, pcall = redis.call, redis.pcall

-- The first entry of a stream: the number of partitions is written down, or compared.
local function check_partitions(state, partitions)
  local written = call('HGET', state, 'partitions')
  if written and written ~= partitions then
    return redis.error_reply('KVPARTITIONS this data was written with ' .. written
      .. ' partitions, and the settings say ' .. partitions)
  end
  call('HSET', state, 'partitions', partitions)
end

-- How many more entries a partition has room for: the stream also has drained ones, which are
-- kept for a while.
local function room_of(state, stream, bound)
  local retained = tonumber(call('HGET', state, 'retained') or 0)
  return bound - (call('XLEN', stream) - retained)
end

