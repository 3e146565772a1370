-- What a partition's state can say of the scheme of its queue; it stands in front of the scripts
-- that go by it.

-- Where entries are not taken.
local CLOSED = { closed = true, moved = true, cache_aside = true, postgres_only = true }
-- Where readers may not put rows either.
local TAKES_NO_ROWS = { closed = true, postgres_only = true }

-- What is answered where the queue has other partitions by now.
local function is_moved(scheme)
  return scheme == 'moved' and redis.error_reply('KVMOVED the queue has other partitions by now')
end

