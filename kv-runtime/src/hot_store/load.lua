-- Puts a row here that from then on only Redis is to have.
--
-- KEYS: the partition's state, a row.
-- ARGV: the switch that is to have closed the partition, a place behind all of its entries and
--   `loaded`, or `loaded deleted` for a tombstone, the number
--   of the row's unique values, the keys of these, then the names and values.
-- Answers 1, or 0 where it comes too late: the partition is open, or closed by another switch.
--
-- `@stored` says that PostgreSQL has a row of this id, too. It stays as long as the key does, so that
-- a deletion is still known when PostgreSQL is to have the rows again.

if redis.call('HGET', KEYS[1], 'switch') ~= ARGV[1] then
  return 0
end
local first_item = 4 + tonumber(ARGV[3])
local value_keys = { unpack(ARGV, 4, first_item - 1) }
clear(KEYS[2])
redis.call('HSET', KEYS[2], '@', ARGV[2], '@stored', 1, unpack(ARGV, first_item))
redis.call('PERSIST', KEYS[2])
for _, value_key in ipairs(value_keys) do
  put_value(value_key, string.match(ARGV[2], '^%S+'), KEYS[2])
end
if #value_keys > 0 then
  redis.call('HSET', KEYS[2], '@values', table.concat(value_keys, ' '))
end
return 1
