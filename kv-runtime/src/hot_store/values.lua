-- What the scripts share that know unique values; it stands in front of each of them.
--
-- Under the key of a value is `row <entry> <key of the row>`, or `reading <token>`. A row's field
-- `@values` lists the keys of its values; `@freed` those that it has given up, each behind the entry
-- by which it did. The latter stay as they are until that is drained: who asks whose a value is then
-- asks the row, and learns that another entry has to come first.

-- Whether what is under a value's key says that it is this row's.
local function is_own(found, key)
  return type(found) == 'string' and string.sub(found, 1, 4) == 'row '
    and string.match(found, '^row %S+ (.+)$') == key
end

local function words_of(listed)
  local words = {}
  if type(listed) == 'string' then
    for word in string.gmatch(listed, '%S+') do
      words[#words + 1] = word
    end
  end
  return words
end

-- The keys of a row's values; and entries and keys of those that it has given up, in turn.
local function values_of(key)
  local listed = redis.pcall('HMGET', key, '@values', '@freed')
  return words_of(listed[1]), words_of(listed[2])
end
