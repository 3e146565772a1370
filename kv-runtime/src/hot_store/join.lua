-- Makes or keeps a drainer a member of a queue.
--
-- KEYS: the queue's members, by the time at which each is forgotten.
-- ARGV: the drainer's token, its time to live in milliseconds.
-- Answers how many members there are, and how many of them stand before this one.
--
-- The times are the server's, so that the drainers' clocks do not matter.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
-- By token, which does not change from one time to the next as the scores do.
local rank = 0
for _, member in ipairs(members) do
  if member < ARGV[1] then
    rank = rank + 1
  end
end
return {#members, rank}
