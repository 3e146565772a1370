-- Settles some rows of one partition after the commit of their entries.
--
-- KEYS: the partition's state, its stream, then the rows.
-- ARGV: the position settled before, the committed position (empty: rows of the batch are
--   still to come), the number of entries between, the entry to trim before, the rows' time to
--   live in milliseconds (or `held`, or `kept`), whether the rows may have unique values (1, else 0), then for
--   each row its newest committed entry and a space.
--
-- A row is clean when its newest entry is the committed one. Then it may expire, and a
-- tombstone may go, as may a row that is marked ` stale`. A row whose newest entry is older than
-- that was filled from a snapshot before the commit: it is stale and goes. One with a newer entry
-- is dirty and stays.
--
-- Rows whose entries became dead letters stay, and say so. Rows that nobody else has stay as well,
-- and so do their tombstones where PostgreSQL has a row from before.
--
-- Answers 1, or 0 where another position than the one given was settled before; in a cluster with
-- what is to become of values.

local call, pcall, find = redis.call, redis.pcall, string.find

-- Once a drained row, so what it costs is what draining costs the server: plain comparisons come
-- before patterns.
local time_to_live = ARGV[5]
local is_held, is_kept = time_to_live == 'held', time_to_live == 'kept'
local has_values = ARGV[6] == '1'
for i = 3, #KEYS do
  local key, entry = KEYS[i], ARGV[i + 4]
  local meta = pcall('HGET', key, '@')
  if type(meta) == 'string' then
    if is_held then
      -- With a younger entry, that one's settling marks it; a row that was filled since, or that a
      -- reader waits for, is as PostgreSQL has it. The mark names the entry.
      if find(meta, entry, 1, true) == 1 and meta ~= entry .. 'filled'
        and string.sub(meta, -5) ~= ' held' then
        -- In this order, which Redis allows though it is full.
        call('PERSIST', key)
        call('HSET', key, '@', meta .. ' ' .. entry .. 'held')
      end
    elseif find(meta, entry, 1, true) ~= 1 then
      -- Neither may a reader put a row here that it has read before the commit.
      local newest = string.match(meta, '^%d+%-%d+')
      if not newest or is_younger(string.sub(entry, 1, -2), newest) then
        release_values(key)
        call('DEL', key)
      elseif has_values then
        local _, freed = values_of(key)
        forget_freed(key, freed, string.sub(entry, 1, -2))
      end
    elseif find(meta, ' ', #entry + 1, true) then
      -- One more word: ` deleted` or ` stale`, or it is held again.
      if string.sub(meta, -5) ~= ' held' then
        release_values(key)
        local stays = is_kept and find(meta, ' deleted', 1, true)
          and call('HEXISTS', key, '@stored') == 1
        if not stays then
          call('DEL', key)
        end
      end
    else
      if has_values then
        -- Before the row, which lists them, and with no time left is gone at once.
        local values, freed = values_of(key)
        forget_freed(key, freed)
        for _, value_key in ipairs(is_kept and {} or values) do
          expire_value(value_key, key, time_to_live)
        end
      end
      if not is_kept then
        call('PEXPIRE', key, time_to_live)
      end
    end
  end
end

-- Another has settled this, or Redis or PostgreSQL went back in time: the drainer looks again.
if ARGV[2] ~= '' then
  if (call('HGET', KEYS[1], 'position') or '0-0') ~= ARGV[1] then
    return answer(0)
  end
  local trimmed = call('XTRIM', KEYS[2], 'MINID', ARGV[4])
  call('HINCRBY', KEYS[1], 'retained', tonumber(ARGV[3]) - trimmed)
  call('HSET', KEYS[1], 'position', ARGV[2], 'trimmed', ARGV[4])
end
return answer(1)
