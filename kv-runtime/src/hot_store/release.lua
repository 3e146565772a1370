-- What the scripts share by which rows lose values or go; it stands behind `ids.lua` and
-- `values.lua`.

-- Forgets what a row has given up by entries that are drained: up to one, or all.
local function forget_freed(key, freed, up_to)
  local left = {}
  for i = 1, #freed, 2 do
    local entry, value_key = freed[i], freed[i + 1]
    if up_to and is_younger(entry, up_to) then
      left[#left + 1], left[#left + 2] = entry, value_key
    else
      drop_value(value_key, key)
    end
  end
  if #left < #freed then
    -- In this order, which Redis allows though it is full.
    redis.call('HDEL', key, '@freed')
    if #left > 0 then
      redis.call('HSET', key, '@freed', table.concat(left, ' '))
    end
  end
end

-- Lets a row's values go with it.
local function release_values(key)
  local values, freed = values_of(key)
  for _, value_key in ipairs(values) do
    drop_value(value_key, key)
  end
  forget_freed(key, freed)
end
