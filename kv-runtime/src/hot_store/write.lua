-- Makes changes of rows, each together with its entry.
--
-- KEYS: for each change its partition's state and stream, and its row.
-- ARGV: the number of partitions (where the queues of the changes have not all the same, that of
--   each, with spaces between), the bound of undrained entries of a partition, what this
--   server's clock showed before the first try of these changes (0: this is it), whether rows that
--   are held take changes (1, else 0), then for each:
--   operation, the entry's header, its values, operation id, probe, check,
--   number of columns that become NULL, their names,
--   number of names and values, the names and values; an odd number where the last name has no
--   value: it is the column of the version, which follows from the entry's id.
-- Answers for each change the id of its entry, the number of a refusal, or an error; then for
-- each check how many more entries the partition has room for.
--
-- A check (1, else 0) compares the partition's undrained entries with the bound. A writer that
-- knows of room leaves it out, and makes it again before it could have used up its share.
--
-- The probe of a create is empty where its id is fresh; else it is the token that was left
-- in the row's place before PostgreSQL was asked, or `?` before that was done. That of a patch is
-- the version that the row must have, or empty where any will do. That of an increment is the
-- least and the most that the counter can hold; its name as JSON stands for the entry's values, and
-- what is added for its value. It is a patch, as soon as the result is known, and answers that
-- behind the entry's id.
--
-- Scripts do not roll back. What can fail for one change (a key of another type) fails at a
-- read or at the append, before its row is touched (but by an increment, which is taken back), and
-- is its answer alone. What fails for
-- all (memory that is full) fails at the first write of the call, before anything is done.
--
-- This is the hot path: a call of the server costs about a microsecond and an argument a
-- tenth of one, a number that becomes text half of one. So the entry is made by the caller, the
-- version is the entry's id, and the partitions are compared only when there is no stream.

local bound = tonumber(ARGV[2])

-- What an earlier try of these changes has done: entry ids by operation id. A row remembers
-- its last operation alone; the stream has all that a retry can be about. A call that is a
-- retry is about one partition.
local done, results
if ARGV[3] ~= '0' then
  done, results = {}, {}
  local from = tonumber(ARGV[3])
  local trimmed = call('HGET', KEYS[1], 'trimmed')
  if call('HGET', KEYS[1], 'scheme') == 'moved' and call('EXISTS', KEYS[2]) == 0 then
    return redis.error_reply('KVUNKNOWN the queue has other partitions, and its old ones are gone')
  end
  if trimmed and tonumber(string.match(trimmed, '^%d+')) >= from then
    return redis.error_reply('KVUNKNOWN the entries since the first try were trimmed')
  end
  for _, entry in ipairs(call('XRANGE', KEYS[2], string.format('%d', from), '+')) do
    -- The header is the first value; the operation id is its fourth word.
    local operation_id = string.match(entry[2][2], '^%S+ %S+ %S+ (%S+)')
    if operation_id then
      done[operation_id] = entry[1]
      -- Where it was an increment, its result is the only value.
      results[operation_id] = string.match(entry[2][4], '"(%-?%d+)"}$')
    end
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
    rooms[#rooms + 1] = type(room) == 'number' and room or 0
  end
  local first_null = at + 7
  local first_item = first_null + ARGV[at + 6] + 1
  local last_item = first_item + ARGV[first_item - 1] - 1
  at = last_item + 1
  local version_column
  if (last_item - first_item) % 2 == 0 then
    version_column = ARGV[last_item]
    last_item = last_item - 1
  end

  -- `<entry> <operation id>`, then ` deleted` where it is a tombstone, then ` <entry> held` or
  -- ` stale`; or `reading <token>`.
  local meta = pcall('HGET', key, '@')
  local is_foreign = type(meta) == 'table'
  local is_there, deleted, token = false, false, nil
  local is_held, mark = false, ''
  if meta and not is_foreign then
    token = string.match(meta, '^reading (%S+)')
    deleted = not token and string.find(meta, ' deleted', 1, true)
    is_there = not token and not deleted
    local word = string.sub(meta, -5)
    is_held = word == ' held'
    mark = is_held and string.match(meta, ' %S+ held$') or word == 'stale' and ' stale' or ''
  end
  local is_whole_row = operation == 'create' or operation == 'upsert'

  if is_foreign then
    answers[i] = redis.error_reply('KVFOREIGN the key ' .. key .. ' holds no row')
  elseif done and done[operation_id] then
    answers[i] = done[operation_id]
    if operation == 'increment' then
      answers[i] = answers[i] .. ' ' .. results[operation_id]
    end
  elseif meta and not token and string.find(meta, operation_id, 1, true) then
    -- Two tries that passed each other on the way here.
    answers[i] = string.match(meta, '^%S+')
    if operation == 'increment' then
      answers[i] = answers[i] .. ' ' .. call('HGET', key, ARGV[first_item])
    end
  elseif is_held and not takes_held then
    answers[i] = HELD
  elseif is_there and operation == 'create' then
    answers[i] = EXISTS
  elseif deleted and not is_whole_row then
    answers[i] = DELETED
  elseif not is_there and not is_whole_row then
    answers[i] = ABSENT
  elseif operation == 'create' and not deleted and probe ~= '' and probe ~= token then
    answers[i] = UNPROBED
  elseif operation == 'patch' and probe ~= ''
    and probe ~= call('HGET', key, version_column) then
    answers[i] = STALE
  elseif type(room) == 'table' then
    answers[i] = room
  elseif room and room < 1 then
    answers[i] = FULL
  else
    local entry, before, result
    if operation == 'increment' then
      -- Only the server itself adds with 64 bits. So this comes before the entry is appended, and
      -- is taken back where that fails.
      local column, least, most = ARGV[first_item], string.match(probe, '^(%S+) (%S+)$')
      before = call('HGET', key, column)
      local sum = before and pcall('HINCRBY', key, column, ARGV[last_item])
      if not before then
        entry = IS_NULL
      elseif type(sum) == 'table' then
        entry = string.find(sum.err, 'overflow', 1, true) and OVERFLOW or sum
      elseif sum < tonumber(least) or sum > tonumber(most) then
        call('HSET', key, column, before)
        entry = OVERFLOW
      else
        -- Of the sum itself, a script has 53 bits.
        result = call('HGET', key, column)
        operation, values = 'patch', '{' .. values .. ':"' .. result .. '"}'
      end
    end
    entry = entry or pcall('XADD', stream, 'NOMKSTREAM', '*', 'change', header, 'values', values)
    if not entry then
      local partitions = ARGV[1]
      if string.find(partitions, ' ', 1, true) then
        partitions = string.match(partitions, string.rep('%d+ ', i - 1) .. '(%d+)')
      end
      entry = check_partitions(state, partitions)
        or pcall('XADD', stream, '*', 'change', header, 'values', values)
    end
    answers[i] = entry
    if result then
      if type(entry) == 'table' then
        call('HSET', key, ARGV[first_item], before)
      else
        ARGV[last_item] = result
        answers[i] = entry .. ' ' .. result
      end
    end
    if type(entry) == 'string' then
      meta = entry .. ' ' .. operation_id
      if operation == 'delete' then
        meta = meta .. ' deleted'
      end
      if is_held or operation == 'patch' then
        -- A whole row says all there is to say, so it is not stale any more.
        meta = meta .. mark
      end
      if operation == 'patch' then
        call('HSET', key, '@', meta, unpack(ARGV, first_item, last_item))
        if first_item - 1 > first_null then
          call('HDEL', key, unpack(ARGV, first_null, first_item - 2))
        end
        call('PERSIST', key)
      else
        if is_there then
          clear(key)
        end
        if operation == 'delete' then
          call('HSET', key, '@', meta)
        else
          call('HSET', key, '@', meta, unpack(ARGV, first_item, last_item))
        end
        if is_there or token then
          call('PERSIST', key)
        end
      end
      if version_column then
        -- The entry's milliseconds times 2^20, plus its sequence: in two halves, because a number
        -- of a script has 53 bits.
        local time, sequence = string.match(entry, '^(%d+)-(%d+)$')
        local low = time % 1000000 * 1048576 + sequence
        local high = math.floor(time / 1000000) * 1048576 + math.floor(low / 1000000)
        local version = string.format('%.0f%06.0f', high, low % 1000000)
        call('HSET', key, version_column, version)
      end
    end
  end
end

local count = #KEYS / 3
for i, room in ipairs(rooms) do
  answers[count + i] = room
end
return answers
