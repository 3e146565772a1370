-- What the scripts share that know unique values; it stands in front of each of them.
--
-- Under the key of a value is `row <entry> <key of the row>`, or `reading <token>`. A row's field
-- `@values` lists the keys of its values.

-- Whether what is under a value's key says that it is this row's.
local function is_own(found, key)
  return type(found) == 'string' and string.sub(found, 1, 4) == 'row '
    and string.match(found, '^row %S+ (.+)$') == key
end

-- The keys of a row's values.
local function values_of(key)
  local keys = {}
  local listed = redis.pcall('HGET', key, '@values')
  if type(listed) == 'string' then
    for value_key in string.gmatch(listed, '%S+') do
      keys[#keys + 1] = value_key
    end
  end
  return keys
end

-- Lets a row's values go with it.
local function release_values(key)
  for _, value_key in ipairs(values_of(key)) do
    if is_own(redis.pcall('GET', value_key), key) then
      redis.call('DEL', value_key)
    end
  end
end

