-- Lets a unique value expire, or go, whose row in another slot of a cluster has been settled or is gone.
--
-- KEYS: the key of the value. ARGV: the key of the row, the time to live in milliseconds (empty: it
--   goes), the row's newest entry then and the operation that wrote it.
--
-- Meanwhile the row may have taken the value anew: then it is by a younger entry.

local found = redis.call('GET', KEYS[1]) or ''
local entry, row = string.match(found, '^row (%S+) (.+)$')
local is_settled = entry and row == ARGV[1] and ARGV[3] ~= '' and not is_younger(entry, ARGV[3])
if not is_settled then
  -- Taken by that operation, with which its nonces begin, and not told so yet.
  local operation_id, of_row = string.match(found, '^%S+ ([^ .]+)%S* %S+ %S+ (.+)$')
  is_settled = operation_id == ARGV[4] and of_row == ARGV[1]
end
if not is_settled then
  return 0
elseif ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
