-- How a row is replaced; it stands in front of the scripts that do.

-- Removes all fields but `@`, and `@stored`, which is about the id and not about the row. The key
-- stays: in a cluster whose slot is on its way, a script may not put back a key that it has removed.
local function clear(key)
  local fields = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field ~= '@' and field ~= '@stored' then
      fields[#fields + 1] = field
    end
  end
  if #fields > 0 then
    redis.call('HDEL', key, unpack(fields))
  end
end

