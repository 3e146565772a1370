-- What the scripts share that know unique values; it stands in front of each of them.
--
-- Under the key of a value is `row <entry> <key of the row>`, `free <entry> <partition> <key of the
-- row>` where that row has given it up by an entry that is not drained, or `reading <token>`. A row's
-- field `@values` lists the keys of its values, `@freed` of those that it has given up.

-- Whether what is under a value's key says that it is this row's.
local function is_own(found, key)
  return type(found) == 'string' and string.sub(found, 1, 4) == 'row '
    and string.match(found, '^row %S+ (.+)$') == key
end

-- The entry by which a row has given a value up, and its partition, if what is under the value's key
-- says so. Without a row, that of whichever row it was.
local function given_up(found, key)
  if type(found) ~= 'string' or string.sub(found, 1, 5) ~= 'free ' then
    return nil
  end
  local entry, partition, owner = string.match(found, '^free (%S+) (%S+) (.+)$')
  if key and owner ~= key then
    return nil
  end
  return entry, partition
end

local function keys_in(listed)
  local keys = {}
  if type(listed) == 'string' then
    for value_key in string.gmatch(listed, '%S+') do
      keys[#keys + 1] = value_key
    end
  end
  return keys
end

-- The keys of a row's values, and of those that it has given up.
local function values_of(key)
  local listed = redis.pcall('HMGET', key, '@values', '@freed')
  return keys_in(listed[1]), keys_in(listed[2])
end
