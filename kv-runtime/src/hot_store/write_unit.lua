-- Makes the changes of a unit of work with one entry: all of them, or none.
--
-- KEYS: the partition's state and stream, then the rows.
-- ARGV: the number of partitions, the bound of undrained entries, when the first try began, and
--   whether rows that are held take changes, all as in `write.lua`; the entry's header (empty where
--   nothing is changed) and values, the operation id, then for each row:
--   the `@` that it was read with (empty where it was not read), probe,
--   operation (empty where it was only read), and its columns as in `write_common.lua`.
-- Answers the entry's id, or nothing where nothing is changed; or the place of the row that stands
-- in the way (0: none alone does) and the number of the refusal.
--
-- Every check comes before the first write, and nothing after the append can fail.

local partitions, bound = ARGV[1], tonumber(ARGV[2])
local takes_held = ARGV[4] == '1'
local header, values, operation_id = ARGV[5], ARGV[6], ARGV[7]
local state, stream = KEYS[1], KEYS[2]

if ARGV[3] ~= '0' then
  local done = earlier_tries(state, stream, tonumber(ARGV[3]))
  if done.err then
    return done
  elseif done[operation_id] then
    return done[operation_id]
  end
end

local changes = {}
local at = 8
for i = 3, #KEYS do
  local key = KEYS[i]
  local seen, probe, operation = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local first_null, first_item, last_item, version_column, next_at = columns_at(at + 3)
  at = next_at

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
      and refusal(key, operation, probe, version_column, takes_held, is_there, deleted, token,
        is_held)
  if refused then
    return { i - 2, refused }
  end
  if operation ~= '' then
    changes[#changes + 1] = {
      key, operation, meta, is_held, mark, first_null, first_item, last_item, version_column }
  end
end

if header == '' then
  return false
end
if room_of(state, stream, bound) < 1 then
  return { 0, FULL }
end
local entry = append(state, stream, partitions, header, values)
if type(entry) == 'string' then
  for _, change in ipairs(changes) do
    local key, operation, meta, is_held, mark = unpack(change, 1, 5)
    change_row(key, operation, entry, operation_id, meta, is_held, mark, unpack(change, 6, 9))
  end
end
return entry
