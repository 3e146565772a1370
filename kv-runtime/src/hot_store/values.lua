-- What the scripts share that know unique values; it stands in front of each of them. Before it comes
-- `values_here.lua`, or in a cluster `values_elsewhere.lua`.
--
-- What is under the key of a value, says `claim.rs`. A row's field
-- `@values` lists the keys of its values; `@freed` those that it has given up, each behind the entry
-- by which it did. The latter stay as they are until that is drained: who asks whose a value is then
-- asks the row, and learns that another entry has to come first.

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
