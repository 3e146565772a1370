-- One row of a unit of work: the rules of `write.lua`, as functions. There they stand in line,
-- because the making of a function is a good part of what a single write costs.

-- What earlier tries have done: entry ids by operation id, or an error. A row remembers its last
-- operation alone; the stream has all that a retry can be about.
local function earlier_tries(state, stream, from)
  local done = {}
  local trimmed = call('HGET', state, 'trimmed')
  if call('HGET', state, 'scheme') == 'moved' and call('EXISTS', stream) == 0 then
    return redis.error_reply('KVUNKNOWN the queue has other partitions, and its old ones are gone')
  end
  if trimmed and tonumber(string.match(trimmed, '^%d+')) >= from then
    return redis.error_reply('KVUNKNOWN the entries since the first try were trimmed')
  end
  for _, entry in ipairs(call('XRANGE', stream, string.format('%d', from), '+')) do
    -- The header is the first value; the operation id is its fourth word, behind an id that may be empty.
    local operation_id = string.match(entry[2][2], '^%S+ %S+ %S* (%S+)')
    if operation_id then
      done[operation_id] = entry[1]
    end
  end
  return done
end

-- Appends an entry: its id, or an error.
local function append(state, stream, partitions, header, values)
  local entry = pcall('XADD', stream, 'NOMKSTREAM', '*', 'change', header, 'values', values)
  if not entry then
    entry = check_partitions(state, partitions)
      or pcall('XADD', stream, '*', 'change', header, 'values', values)
  end
  return entry
end

-- What a row's `@` says: whether the row is there, whether a tombstone is, the reader's token in
-- its place, whether it is held, and the mark that it keeps.
--
-- It is `<entry> <operation id>`, then ` deleted` where it is a tombstone, then ` <entry> held` or
-- ` stale`; or `reading <token>`.
local function parse(meta)
  if not meta then
    return false, false, nil, false, ''
  end
  local token = string.match(meta, '^reading (%S+)')
  if token then
    return false, false, token, false, ''
  end
  local deleted = string.find(meta, ' deleted', 1, true)
  local word = string.sub(meta, -5)
  local is_held = word == ' held'
  local mark = is_held and string.match(meta, ' %S+ held$') or word == 'stale' and ' stale' or ''
  return not deleted, deleted, nil, is_held, mark
end

-- The version that an entry gives its row: its milliseconds times 2^20, plus its sequence. In two
-- halves, because a number of a script has 53 bits.
local function version_of(entry)
  local time, sequence = string.match(entry, '^(%d+)-(%d+)$')
  local low = time % 1000000 * 1048576 + sequence
  local high = math.floor(time / 1000000) * 1048576 + math.floor(low / 1000000)
  return string.format('%.0f%06.0f', high, low % 1000000)
end

-- Why a change cannot be made to a row, if it cannot.
--
-- The probe of a create is empty where its id is fresh; else it is the token that was left in the
-- row's place before PostgreSQL was asked, or `?` before that was done.
local function refusal(operation, probe, takes_held, is_there, deleted, token, is_held)
  if is_held and not takes_held then
    return HELD
  elseif is_there then
    return operation == 'create' and EXISTS
  elseif operation ~= 'create' and operation ~= 'upsert' then
    return deleted and DELETED or ABSENT
  end
  return operation == 'create' and not deleted and probe ~= '' and probe ~= token and UNPROBED
end

-- Makes the change to a row whose entry was appended; `found` is the `@` that was there. What becomes
-- NULL and the columns are packed, as in `write.lua`.
local function change_row(
  key, operation, entry, operation_id, found, is_held, mark, version_column, nulls, columns)
  local meta = entry .. ' ' .. operation_id
  if operation == 'delete' then
    meta = meta .. ' deleted'
  end
  if is_held or operation == 'patch' then
    -- A whole row says all there is to say, so it is not stale any more.
    meta = meta .. mark
  end
  if operation == 'patch' then
    call('HSET', key, '@', meta, cmsgpack.unpack(columns))
    if nulls ~= '' then
      call('HDEL', key, cmsgpack.unpack(nulls))
    end
    call('PERSIST', key)
  else
    if found then
      clear(key)
      call('PERSIST', key)
    end
    if operation == 'delete' then
      call('HSET', key, '@', meta)
    else
      call('HSET', key, '@', meta, cmsgpack.unpack(columns))
    end
  end
  if version_column ~= '' then
    call('HSET', key, version_column, version_of(entry))
  end
end

