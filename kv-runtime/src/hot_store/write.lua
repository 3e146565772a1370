-- Makes changes of rows of one partition, each together with its entry.
--
-- KEYS: the partition's state, its stream, then a row for each change.
-- ARGV: the number of partitions, the bound of undrained entries, the milliseconds since
--   the first try of these changes (0: this is the first), then for each change:
--   operation, header, operation id, probe,
--   number of NULL columns, their names,
--   number of names and values, the names and values.
-- Answers for each change the id of its entry, or the number of a refusal.
--
-- The probe of a create is empty where its id is fresh; else it is the token that was left
-- in the row's place before PostgreSQL was asked, or `?` before that was done.
--
-- Scripts do not roll back. What can fail (a key of another type, memory that is full) fails
-- at a read or at the first write of a change, before anything of it is done.
--
-- This is the hot path: a call of the server costs about a microsecond and an argument a
-- tenth of one, a number that becomes text half of one. So the header is made by the caller,
-- the version is the entry's id, and the state is only asked when the stream is not there.

local EXISTS, ABSENT, DELETED, FULL, UNPROBED = 1, 2, 3, 4, 5

local call = redis.call
local state, stream = KEYS[1], KEYS[2]
local bound = tonumber(ARGV[2])

-- What an earlier try of these changes has done: entry ids by operation id. A row remembers
-- its last operation alone; the stream has all that a retry can be about.
local done
if ARGV[3] ~= '0' then
  done = {}
  local now = call('TIME')
  local from = now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[3] - 1
  local trimmed = call('HGET', state, 'trimmed')
  if trimmed and tonumber(string.match(trimmed, '^%d+')) >= from then
    return redis.error_reply('KVUNKNOWN the entries since the first try were trimmed')
  end
  for _, entry in ipairs(call('XRANGE', stream, string.format('%d', from), '+')) do
    -- The header is the first field; the operation id is its fourth word.
    local operation_id = string.match(entry[2][2], '^%S+ %S+ %S+ (%S+)')
    if operation_id then
      done[operation_id] = entry[1]
    end
  end
end

-- The first entry of a stream: the number of partitions is written down, or compared.
local function open_stream()
  local partitions = call('HGET', state, 'partitions')
  if partitions and partitions ~= ARGV[1] then
    call('HINCRBY', state, 'undrained', -1)
    return redis.error_reply('KVPARTITIONS this data was written with ' .. partitions
      .. ' partitions, and the settings say ' .. ARGV[1])
  end
  call('HSET', state, 'partitions', ARGV[1])
end

local answers = {}
local at = 4
for i = 3, #KEYS do
  local key, operation, operation_id = KEYS[i], ARGV[at], ARGV[at + 2]
  local first_null = at + 5
  local first_item = first_null + ARGV[at + 4] + 1
  local last_item = first_item + ARGV[first_item - 1] - 1
  local next_at = last_item + 1

  -- `<entry> <operation id>`, then ` deleted` where it is a tombstone; or `reading <token>`.
  local meta = redis.pcall('HGET', key, '@')
  if meta and meta.err then
    return redis.error_reply('KVFOREIGN the key ' .. key .. ' holds something else than a row')
  end
  local is_there, deleted, token = false, false, nil
  if meta then
    token = string.match(meta, '^reading (%S+)')
    deleted = not token and string.find(meta, ' deleted', 1, true)
    is_there = not token and not deleted
  end
  local is_whole_row = operation == 'create' or operation == 'upsert'

  if done and done[operation_id] then
    answers[i - 2] = done[operation_id]
  elseif meta and not token and string.find(meta, operation_id, 1, true) then
    -- Two tries that passed each other on the way here.
    answers[i - 2] = string.match(meta, '^%S+')
  elseif is_there and operation == 'create' then
    answers[i - 2] = EXISTS
  elseif deleted and not is_whole_row then
    answers[i - 2] = DELETED
  elseif not is_there and not is_whole_row then
    answers[i - 2] = ABSENT
  elseif operation == 'create' and not deleted and ARGV[at + 3] ~= '' and ARGV[at + 3] ~= token then
    answers[i - 2] = UNPROBED
  elseif call('HINCRBY', state, 'undrained', 1) > bound then
    call('HINCRBY', state, 'undrained', -1)
    answers[i - 2] = FULL
  else
    local entry
    if first_item - 1 == first_null then
      entry = call('XADD', stream, 'NOMKSTREAM', '*', '@', ARGV[at + 1],
        unpack(ARGV, first_item, last_item))
      if not entry then
        local refusal = open_stream()
        if refusal then
          return refusal
        end
        entry = call('XADD', stream, '*', '@', ARGV[at + 1], unpack(ARGV, first_item, last_item))
      end
    else
      -- NULLs come with patches alone, and a patch needs a row, so the stream is there.
      entry = call('XADD', stream, '*', '@', ARGV[at + 1],
        '@null', table.concat(ARGV, ',', first_null, first_item - 2),
        unpack(ARGV, first_item, last_item))
    end
    meta = entry .. ' ' .. operation_id
    if operation == 'patch' then
      call('HSET', key, '@', meta, unpack(ARGV, first_item, last_item))
      if first_item - 1 > first_null then
        call('HDEL', key, unpack(ARGV, first_null, first_item - 2))
      end
      call('PERSIST', key)
    else
      if is_there or deleted or token then
        call('DEL', key)
      end
      if operation == 'delete' then
        call('HSET', key, '@', meta .. ' deleted')
      else
        call('HSET', key, '@', meta, unpack(ARGV, first_item, last_item))
      end
    end
    answers[i - 2] = entry
  end
  at = next_at
end
return answers
