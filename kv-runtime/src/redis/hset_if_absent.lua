-- Sets a field of a hash that has none of this name, and has the hash live anew.
--
-- KEYS: the hash. ARGV: the field, the value, the time to live in milliseconds (0 is none).
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 0
end
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
