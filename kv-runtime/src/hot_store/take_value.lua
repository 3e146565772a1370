-- Takes a unique value for a row in another slot of a cluster, whose script is yet to run.
--
-- KEYS: the key of the value. ARGV: the key of the row, what may be under the value's key (`?` where
--   nothing was found out yet), the nonce and the partition of the row's script, and for how many
--   milliseconds it may take.
-- Answers what is under the key now, what was before and how many milliseconds that had to live; or
-- nothing where the value is not free.
--
-- The time is a part of what is stored, because what has a time to live may be evicted.

local found = redis.call('GET', KEYS[1]) or ''
local owner = string.match(found, '^row %S+ (.+)$')
  or string.match(found, '^taking %S+ %S+ %S+ (.+)$') or string.match(found, '^late %S+ %S+ %S+ (.+)$')
if owner ~= ARGV[1] and found ~= ARGV[2] then
  return false
end
local time_to_live = redis.call('PTTL', KEYS[1])
local deadline = tonumber(redis.call('TIME')[1]) * 1000 + tonumber(ARGV[5])
local taking = 'taking ' .. ARGV[3] .. ' ' .. string.format('%.0f', deadline) .. ' ' .. ARGV[4]
  .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], taking)
return { taking, found, time_to_live }
