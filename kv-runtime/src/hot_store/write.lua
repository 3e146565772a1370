-- Makes changes of rows, each together with its entry.
--
-- KEYS: for each change its partition's state and stream, and its row.
-- ARGV: the number of partitions, the bound of undrained entries of a partition, what this
--   server's clock showed before the first try of these changes (0: this is it), whether rows that
--   are held take changes (1, else 0), then for each:
--   operation, the entry's header, its values, operation id, probe, check, and its columns; probe
--   and columns as in `write_common.lua`.
-- Answers for each change the id of its entry, the number of a refusal, or an error; then for
-- each check how many more entries the partition has room for.
--
-- A check (1, else 0) compares the partition's undrained entries with the bound. A writer that
-- knows of room leaves it out, and makes it again before it could have used up its share.
--
-- Scripts do not roll back. What can fail for one change (a key of another type) fails at a
-- read or at the append, before its row is touched, and is its answer alone. What fails for
-- all (memory that is full) fails at the first write of the call, before anything is done.
--
-- This is the hot path: a call of the server costs about a microsecond and an argument a
-- tenth of one, a number that becomes text half of one. So the entry is made by the caller, the
-- version is the entry's id, and the partitions are compared only when there is no stream.

local bound = tonumber(ARGV[2])

-- A call that is a retry is about one partition.
local done
if ARGV[3] ~= '0' then
  done = earlier_tries(KEYS[1], KEYS[2], tonumber(ARGV[3]))
  if done.err then
    return done
  end
end

local takes_held = ARGV[4] == '1'
local answers, rooms = {}, {}
local at = 5
for i = 1, #KEYS / 3 do
  local state, stream, key = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local operation, header, values = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local operation_id, probe = ARGV[at + 3], ARGV[at + 4]
  local room
  if ARGV[at + 5] == '1' then
    room = room_of(state, stream, bound)
    rooms[#rooms + 1] = room
  end
  local first_null, first_item, last_item, version_column, next_at = columns_at(at + 6)
  at = next_at

  local meta = pcall('HGET', key, '@')
  if type(meta) == 'table' then
    answers[i] = redis.error_reply('KVFOREIGN the key ' .. key .. ' holds no row')
  elseif done and done[operation_id] then
    answers[i] = done[operation_id]
  else
    local is_there, deleted, token, is_held, mark = parse(meta)
    if meta and not token and string.find(meta, operation_id, 1, true) then
      -- Two tries that passed each other on the way here.
      answers[i] = string.match(meta, '^%S+')
    else
      answers[i] = refusal(key, operation, probe, version_column, takes_held, is_there, deleted,
        token, is_held) or room and room < 1 and FULL
        or append(state, stream, ARGV[1], header, values)
      if type(answers[i]) == 'string' then
        change_row(key, operation, answers[i], operation_id, meta, is_held, mark,
          first_null, first_item, last_item, version_column)
      end
    end
  end
end

local count = #KEYS / 3
for i, room in ipairs(rooms) do
  answers[count + i] = room
end
return answers
