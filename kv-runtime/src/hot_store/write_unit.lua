-- Makes the changes of a unit of work with one entry: all of them, or none.
--
-- KEYS: the partition's state and stream, the nonce by which values elsewhere were taken for it where
--   some were, then the rows.
-- ARGV: the call, packed as in `write.lua`; the entry's header (empty where
--   nothing is changed) and values, the operation id, 1 where there is a nonce (else 0),
--   then for each row:
--   the `@` that it was read with (empty where it was not read), probe,
--   operation (empty where it was only read), the column of its version (empty where it has none),
--   the names of those that become NULL and the others, packed as in `write.lua`, the number of
--   its claims on unique values (empty where it is about none), and for each its key and what
--   may be under that, `?` where nothing was found out yet. Of a value that becomes NULL, what the keys of its index begin with, and `-`.
-- Answers the entry's id, or nothing where nothing is changed; or the place of the row that stands
-- in the way (0: none alone does) and the number of the refusal, and where a claim does, its
-- place.
--
-- Every check comes before the first write, and nothing after the append can fail.

local VALUE = 10

-- The claims of a change on unique values, if it is about any, and what comes next in ARGV.
local function claims_at(at)
  if ARGV[at] == '' then
    return nil, at + 1
  end
  local claims = {}
  for j = 1, tonumber(ARGV[at]) do
    claims[j] = { key = ARGV[at + 2 * j - 1], found = ARGV[at + 2 * j] }
    claims[j].prefix = string.match(claims[j].key, '^[^:]*:')
  end
  return claims, at + 1 + 2 * #claims
end

-- Whether a change makes its row give a value up: all of them, or those that it gets others for.
-- What it keeps is claimed anew.
local function is_replaced(value_key, operation, claims)
  local prefix = string.match(value_key, '^[^:]*:')
  for _, claim in ipairs(claims) do
    if claim.prefix == prefix then
      return true
    end
  end
  return operation ~= 'patch'
end

-- Gives up values and takes others: the lists of those that the row has then, and of those that it
-- has given up.
local function take_values(key, operation, entry, claims)
  local had, had_freed = values_of(key)
  local kept, freed, is_claimed = {}, {}, {}
  for _, claim in ipairs(claims) do
    is_claimed[claim.key] = true
  end
  for i = 1, #had_freed, 2 do
    if not is_claimed[had_freed[i + 1]] then
      freed[#freed + 1], freed[#freed + 2] = had_freed[i], had_freed[i + 1]
    end
  end
  for _, value_key in ipairs(had) do
    if not is_replaced(value_key, operation, claims) then
      kept[#kept + 1] = value_key
    elseif not is_claimed[value_key] and owns_value(value_key, key) then
      freed[#freed + 1], freed[#freed + 2] = entry, value_key
    end
  end
  for _, claim in ipairs(claims) do
    if claim.found ~= '-' then
      put_value(claim.key, entry, key)
      kept[#kept + 1] = claim.key
    end
  end
  if #freed == 0 and #had_freed == 0 then
    return table.concat(kept, ' ')
  end
  return table.concat(kept, ' '), table.concat(freed, ' ')
end

local partitions, bound, began, takes_held = cmsgpack.unpack(ARGV[1])
local header, values, operation_id = ARGV[2], ARGV[3], ARGV[4]
local state, stream, nonce = KEYS[1], KEYS[2], ARGV[5] == '1' and KEYS[3]
local first_row = nonce and 4 or 3

if began ~= 0 then
  local done = earlier_tries(state, stream, began)
  if done.err then
    return done
  elseif done[operation_id] then
    return done[operation_id]
  end
end

local changes = {}
local at = 6
for i = first_row, #KEYS do
  local key = KEYS[i]
  local seen, probe, operation = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local version_column, nulls, columns = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local claims
  claims, at = claims_at(at + 6)

  local meta = pcall('HGET', key, '@')
  if type(meta) == 'table' then
    return redis.error_reply('KVFOREIGN the key ' .. key .. ' holds no row')
  end
  local is_there, deleted, token, is_held, mark = parse(meta)
  if operation ~= '' and meta and not token and string.find(meta, operation_id, 1, true) then
    -- Two tries that passed each other on the way here.
    return string.match(meta, '^%S+')
  end
  local refused = seen ~= '' and seen ~= meta and STALE
    or operation ~= ''
      and refusal(operation, probe, takes_held, is_there, deleted, token, is_held)
  if refused then
    return { i - first_row + 1, refused }
  end
  if operation ~= '' then
    changes[#changes + 1] = {
      key, operation, meta, is_held, mark, version_column, nulls, columns,
      place = i - first_row + 1, claims = claims }
  end
end

local freed = {}
for _, change in ipairs(changes) do
  for _, value_key in ipairs(change.claims and values_of(change[1]) or {}) do
    if is_replaced(value_key, change[2], change.claims)
      and owns_value(value_key, change[1]) then
      freed[value_key] = true
    end
  end
end
for _, change in ipairs(changes) do
  for j, claim in ipairs(change.claims or {}) do
    if not can_have(change[1], claim, freed) then
      return { change.place, VALUE, j }
    end
  end
end

if header == '' then
  return false
end
if nonce and call('EXISTS', nonce) == 0 then
  -- Another has taken them meanwhile.
  return { 0, VALUE, 0 }
end
local room = room_of(state, stream, bound)
if type(room) == 'table' then
  return room
elseif room < 1 then
  return { 0, FULL }
end
local entry = append(state, stream, partitions, header, values)
if type(entry) == 'string' then
  if nonce then
    call('DEL', nonce)
  end
  for _, change in ipairs(changes) do
    local key, operation, meta, is_held, mark = unpack(change, 1, 5)
    -- Before the row, which lists those it had.
    local values, freed
    if change.claims then
      values, freed = take_values(key, operation, entry, change.claims)
    end
    change_row(key, operation, entry, operation_id, meta, is_held, mark, unpack(change, 6, 8))
    if values and operation ~= 'delete' then
      call('HSET', key, '@values', values)
    end
    if freed == '' then
      call('HDEL', key, '@freed')
    elseif freed then
      call('HSET', key, '@freed', freed)
    end
  end
end
return entry
