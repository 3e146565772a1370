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
-- Of an increment, the probe is the least and the most that the counter can hold; its name as JSON
-- stands for the entry's values, and what is added for its value. It is a patch, as soon as the
-- result is known, and answers that behind the entry's id.
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
local done, results
if ARGV[3] ~= '0' then
  done, results = earlier_tries(KEYS[1], KEYS[2], tonumber(ARGV[3]))
  if done.err then
    return done
  end
end

-- Adds to a counter: answers the result, or a refusal.
--
-- Only the server itself adds with 64 bits. So this comes before the entry is appended, and is taken
-- back where that fails.
local function add(key, column, by, bounds)
  local before = call('HGET', key, column)
  if not before then
    return nil, IS_NULL
  end
  local result = pcall('HINCRBY', key, column, by)
  if type(result) == 'table' then
    return nil, string.find(result.err, 'overflow', 1, true) and OVERFLOW or result
  end
  local least, most = string.match(bounds, '^(%S+) (%S+)$')
  if result < tonumber(least) or result > tonumber(most) then
    call('HSET', key, column, before)
    return nil, OVERFLOW
  end
  -- Of the number itself, a script has 53 bits.
  return call('HGET', key, column), nil, before
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
    if operation == 'increment' then
      answers[i] = answers[i] .. ' ' .. results[operation_id]
    end
  else
    local is_there, deleted, token, is_held, mark = parse(meta)
    if meta and not token and string.find(meta, operation_id, 1, true) then
      -- Two tries that passed each other on the way here.
      answers[i] = string.match(meta, '^%S+')
      if operation == 'increment' then
        answers[i] = answers[i] .. ' ' .. call('HGET', key, ARGV[first_item])
      end
    else
      local refused = refusal(key, operation, probe, version_column, takes_held, is_there, deleted,
        token, is_held) or room and room < 1 and FULL
      local result, before
      if operation == 'increment' and not refused then
        result, refused, before = add(key, ARGV[first_item], ARGV[last_item], probe)
        operation, values = 'patch', result and '{' .. values .. ':"' .. result .. '"}'
      end
      local answer = refused or append(state, stream, ARGV[1], header, values)
      if type(answer) == 'string' then
        if result then
          ARGV[last_item] = result
        end
        change_row(key, operation, answer, operation_id, meta, is_held, mark,
          first_null, first_item, last_item, version_column)
        if result then
          answer = answer .. ' ' .. result
        end
      elseif result then
        call('HSET', key, ARGV[first_item], before)
      end
      answers[i] = answer
    end
  end
end

local count = #KEYS / 3
for i, room in ipairs(rooms) do
  answers[count + i] = room
end
return answers
