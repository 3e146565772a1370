-- What becomes of unique values whose keys lie in other slots of a cluster: it is answered, and the
-- caller does it (`redis/values.rs`). What a row takes was taken for it beforehand.

local to_do = {}

local function owns_value()
  return true
end

local function can_have()
  return true
end

local function put_value()
end

-- Up to which entry of the row, and by which operation, the value may have been taken.
local function note(value_key, key, time_to_live)
  local meta = redis.pcall('HGET', key, '@')
  local entry, operation_id = string.match(type(meta) == 'string' and meta or '', '^(%S+) (%S+)')
  for _, word in ipairs({ value_key, key, time_to_live, entry or '', operation_id or '' }) do
    to_do[#to_do + 1] = word
  end
end

local function drop_value(value_key, key)
  note(value_key, key, '')
end

local function expire_value(value_key, key, time_to_live)
  note(value_key, key, time_to_live)
end

local function answer(result)
  return { result, to_do }
end

