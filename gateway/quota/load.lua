#!lua
-- Loads states that were counted from the log, where there are none of this generation.
--
-- KEYS[1]  the generation    KEYS, then  {i:N} of each institution
-- ARGV[1]  the generation that they were counted for
-- ARGV[2]  a MessagePack array: tat day_used day_ends month_used month_ends of each
-- Reply    how many were loaded
--
-- A worker that counted, stood still and came back after the next loss finds another
-- generation, and loads nothing.

local GRACE = 86400000000
local generation = redis.call('GET', KEYS[1])
if generation ~= ARGV[1] then
  return 0
end
local numbers, loaded = cmsgpack.unpack(ARGV[2]), 0
for n = 2, #KEYS do
  if redis.call('HGET', KEYS[n], 'generation') ~= generation then
    local at = (n - 2) * 5
    local tat, month_ends = numbers[at + 1], numbers[at + 5]
    redis.call('HSET', KEYS[n], 'generation', generation, 'tat', tat,
      'day_used', numbers[at + 2], 'day_ends', numbers[at + 3],
      'month_used', numbers[at + 4], 'month_ends', month_ends)
    redis.call('PEXPIREAT', KEYS[n], math.ceil((math.max(tat, month_ends) + GRACE) / 1000))
    loaded = loaded + 1
  end
end
return loaded
