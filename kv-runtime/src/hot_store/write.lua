-- Makes changes of rows, each together with its entry.
--
-- KEYS: the rows, one for each change; then for each change its partition's stream and state.
-- ARGV: the call, then for each change what it is, its entry's values and its columns; all but the
--   values are packed.
--   The call: the number of partitions (where the queues of the changes have not all the same, that
--   of each, with spaces between), the bound of undrained entries of a partition, what this
--   server's clock showed before the first try of these changes (0: this is it), whether rows that
--   are held take changes, whether all are creates, each of another row.
--   What a change is: operation, the entry's header, operation id, probe, whether to check, the
--   column of the version where the model has one (it follows from the entry's id), the names of
--   the columns that become NULL, packed once more.
--   Its columns: names and values in turn.
-- Answers for each change the id of its entry, the number of a refusal, or an error; then for
-- each check how many more entries the partition has room for.
--
-- A check compares the partition's undrained entries with the bound. A writer that
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
-- tenth of one, a number that becomes text half of one, and each byte that becomes a text of the
-- script about a nanosecond, once more where it is unpacked. So what is small is packed, what is
-- long is not, the entry is made by the caller, the version is the entry's id, new rows are looked
-- for all at once, and the partitions are compared only when there is no stream.

local unpacked, find, match, sub = cmsgpack.unpack, string.find, string.match, string.sub
local partitions, bound, began, takes_held, are_new = unpacked(ARGV[1])

-- What an earlier try of these changes has done: entry ids by operation id. A row remembers
-- its last operation alone; the stream has all that a retry can be about. A call that is a
-- retry is about one change.
local done, results
if began ~= 0 then
  done, results = {}, {}
  local trimmed = call('HGET', KEYS[3], 'trimmed')
  if call('HGET', KEYS[3], 'scheme') == 'moved' and call('EXISTS', KEYS[2]) == 0 then
    return redis.error_reply('KVUNKNOWN the queue has other partitions, and its old ones are gone')
  end
  if trimmed and tonumber(match(trimmed, '^%d+')) >= began then
    return redis.error_reply('KVUNKNOWN the entries since the first try were trimmed')
  end
  for _, entry in ipairs(call('XRANGE', KEYS[2], string.format('%d', began), '+')) do
    -- The header is the first value; the operation id is its fourth word, behind an id that
    -- may be empty.
    local operation_id = match(entry[2][2], '^%S+ %S+ %S* (%S+)')
    if operation_id then
      done[operation_id] = entry[1]
      -- Where it was an increment, its result is the only value.
      results[operation_id] = match(entry[2][4], '"(%-?%d+)"}$')
    end
  end
end

local KEYS, ARGV, count = KEYS, ARGV, #KEYS / 3
local answers, rooms = {}, {}
-- Mostly new rows are new; where one is not, each is looked at.
local are_absent = are_new and call('EXISTS', unpack(KEYS, 1, count)) == 0
for i = 1, count do
  local key, stream, state = KEYS[i], KEYS[count + 2 * i - 1], KEYS[count + 2 * i]
  local operation, header, operation_id, probe, is_checked, version_column, nulls =
    unpacked(ARGV[3 * i - 1])
  local values, columns = ARGV[3 * i], ARGV[3 * i + 1]
  local room
  if is_checked then
    room = room_of(state, stream, bound)
    rooms[#rooms + 1] = type(room) == 'number' and room or 0
  end

  -- `<entry> <operation id>`, then ` deleted` where it is a tombstone, then ` <entry> held` or
  -- ` stale`; or `reading <token>`.
  local meta = not are_absent and pcall('HGET', key, '@')
  local is_foreign = type(meta) == 'table'
  local is_there, deleted, token = false, false, nil
  local is_held, mark = false, ''
  if meta and not is_foreign then
    token = match(meta, '^reading (%S+)')
    deleted = not token and find(meta, ' deleted', 1, true)
    is_there = not token and not deleted
    local word = sub(meta, -5)
    is_held = word == ' held'
    mark = is_held and match(meta, ' %S+ held$') or word == 'stale' and ' stale' or ''
  end
  local is_whole_row = operation == 'create' or operation == 'upsert'

  if is_foreign then
    answers[i] = redis.error_reply('KVFOREIGN the key ' .. key .. ' holds no row')
  elseif done and done[operation_id] then
    answers[i] = done[operation_id]
    if operation == 'increment' then
      answers[i] = answers[i] .. ' ' .. results[operation_id]
    end
  elseif meta and not token and find(meta, operation_id, 1, true) then
    -- Two tries that passed each other on the way here.
    answers[i] = match(meta, '^%S+')
    if operation == 'increment' then
      answers[i] = answers[i] .. ' ' .. call('HGET', key, (unpacked(columns)))
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
    local entry, counter, before, result
    if operation == 'increment' then
      -- Only the server itself adds with 64 bits. So this comes before the entry is appended, and
      -- is taken back where that fails.
      local least, most = match(probe, '^(%S+) (%S+)$')
      local amount
      counter, amount = unpacked(columns)
      before = call('HGET', key, counter)
      local sum = before and pcall('HINCRBY', key, counter, amount)
      if not before then
        entry = IS_NULL
      elseif type(sum) == 'table' then
        entry = find(sum.err, 'overflow', 1, true) and OVERFLOW or sum
      elseif sum < tonumber(least) or sum > tonumber(most) then
        call('HSET', key, counter, before)
        entry = OVERFLOW
      else
        -- Of the sum itself, a script has 53 bits.
        result = call('HGET', key, counter)
        -- The column is as it should be.
        operation, columns = 'patch', ''
        values = '{' .. values .. ':"' .. result .. '"}'
      end
    end
    entry = entry or pcall('XADD', stream, 'NOMKSTREAM', '*', 'change', header, 'values', values)
    if not entry then
      local written = partitions
      if find(written, ' ', 1, true) then
        written = match(written, string.rep('%d+ ', i - 1) .. '(%d+)')
      end
      entry = check_partitions(state, written)
        or pcall('XADD', stream, '*', 'change', header, 'values', values)
    end
    answers[i] = entry
    if result then
      if type(entry) == 'table' then
        call('HSET', key, counter, before)
      else
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
        call('HSET', key, '@', meta, unpacked(columns))
        if nulls ~= '' then
          call('HDEL', key, unpacked(nulls))
        end
        call('PERSIST', key)
      else
        if is_there then
          clear(key)
        end
        if operation == 'delete' then
          call('HSET', key, '@', meta)
        else
          call('HSET', key, '@', meta, unpacked(columns))
        end
        if is_there or token then
          call('PERSIST', key)
        end
      end
      if version_column then
        -- The entry's milliseconds times 2^20, plus its sequence: in two halves, because a number
        -- of a script has 53 bits.
        local time, sequence = match(entry, '^(%d+)-(%d+)$')
        local low = time % 1000000 * 1048576 + sequence
        local high = math.floor(time / 1000000) * 1048576 + math.floor(low / 1000000)
        local version = string.format('%.0f%06.0f', high, low % 1000000)
        call('HSET', key, version_column, version)
      end
    end
  end
end

for i, room in ipairs(rooms) do
  answers[count + i] = room
end
return answers
