#!lua
-- Begins a generation where the one that is kept is another server's or epoch's.
--
-- KEYS[1]  the generation    ARGV[1]  the server's process and the epoch
-- Reply    the generation: 'process:epoch|instant', by this server's time. What was
--          admitted before that instant may still be on its way into the log.

local LIFE = 62 * 86400
local kept = redis.call('GET', KEYS[1]) or ''
if string.sub(kept, 1, #ARGV[1] + 1) == ARGV[1] .. '|' then
  return kept
end
local time = redis.call('TIME')
local fresh = ARGV[1] .. '|' .. string.format('%d', time[1] * 1000000 + time[2])
redis.call('SET', KEYS[1], fresh, 'EX', LIFE)
return fresh
