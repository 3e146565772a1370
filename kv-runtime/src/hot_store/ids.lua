-- The order of entries; it stands in front of the scripts that go by it.

local function is_younger(a, b)
  local a_time, a_sequence = string.match(a, '^(%d+)-(%d+)$')
  local b_time, b_sequence = string.match(b, '^(%d+)-(%d+)$')
  a_time, b_time = tonumber(a_time), tonumber(b_time)
  if a_time ~= b_time then
    return a_time > b_time
  end
  return tonumber(a_sequence) > tonumber(b_sequence)
end

