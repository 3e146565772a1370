-- A partition's queue, for the scripts that append to it: it stands in front of them.

local EXISTS, ABSENT, DELETED, FULL, UNPROBED, HELD, STALE = 1, 2, 3, 4, 5, 6, 7
local IS_NULL, OVERFLOW = 8, 9

local call, pcall = redis.call, redis.pcall

-- The first entry of a stream: whether the queue takes any. The number of partitions is written
-- down, or compared.
local function check_partitions(state, partitions)
  local scheme = call('HGET', state, 'scheme') or ''
  if CLOSED[scheme] then
    return is_moved(scheme) or redis.error_reply('KVCLOSED the queue takes no entries under its storage scheme')
  end
  local written = pcall('HGET', state, 'partitions')
  if type(written) == 'table' then
    return written
  end
  if written and written ~= partitions then
    return redis.error_reply('KVPARTITIONS this data was written with ' .. written
      .. ' partitions, and the settings say ' .. partitions)
  end
  call('HSET', state, 'partitions', partitions)
end

-- How many more entries a partition has room for, or an error: the stream also has drained ones, which are
-- kept for a while.
local function room_of(state, stream, bound)
  local retained, length = pcall('HGET', state, 'retained'), pcall('XLEN', stream)
  if type(retained) == 'table' or type(length) == 'table' then
    return type(length) == 'table' and length or retained
  end
  return bound - (length - tonumber(retained or 0))
end

