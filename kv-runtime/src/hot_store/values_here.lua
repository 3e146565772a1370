-- What becomes of unique values whose keys a script can reach.

-- Whether a value is a row's, by what is under its key.
local function owns_value(value_key, key)
  local found = redis.pcall('GET', value_key)
  return type(found) == 'string' and string.match(found, '^row %S+ (.+)$') == key
end

-- Whether a row can have a value. `freed` are those that rows of its unit give up.
local function can_have(key, claim, freed)
  return claim.found == '-' or owns_value(claim.key, key) or freed[claim.key]
    or redis.call('GET', claim.key) == claim.found
end

local function put_value(value_key, entry, key)
  redis.call('SET', value_key, 'row ' .. entry .. ' ' .. key)
end

-- Lets a value go that is a row's.
local function drop_value(value_key, key)
  if owns_value(value_key, key) then
    redis.call('DEL', value_key)
  end
end

-- Gives a value a time to live, in milliseconds, that is a row's.
local function expire_value(value_key, key, time_to_live)
  if owns_value(value_key, key) then
    redis.call('PEXPIRE', value_key, time_to_live)
  end
end

-- What a script answers.
local function answer(result)
  return result
end

