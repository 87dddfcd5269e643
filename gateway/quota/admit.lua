#!lua
-- Decides a whole flush of asks in one step, by the time of this server.
-- gateway/quota/limit.py is its model: what is decided and why is said there.
--
-- KEYS[1]          the generation
-- KEYS, per ask    admit: {i:N} {i:N}:refused:K   give back: {i:N} or {i:N}:shadow
--                  admit shadowed: {i:N} {i:N}:refused:K {i:N}:shadow
--                  refuse: {i:N}:refused:K
--                  watch: {i:N}:harvest {i:N}:asked {i:N}:prefixes
-- ARGV[1]          the process of this server and the epoch, as the worker knows them
-- ARGV[2]          one MessagePack array of integers (a fifth of the client's work that
--                  as many arguments would be), per ask
--                  admit: 0 rate burst day month rate_cost quota_cost
--                  give back: 1 returned_us quota_cost day_ends month_ends generation
--                  refuse: 2
--                  admit shadowed: 3, as admit, then the shadow's rate burst day month
--                  and '#' with the instant since which it is one
--                  watch: 4 since most_claims found near; the ask after it is an admit
-- ARGV[3…]         of each watch its misses, 8 bytes a prefix, and its sights, 21 bytes a
--                  subject (8), its prefix (8), claims (4) and whether it is a canary
-- Reply            the instant of the flush and the generation, '' where the one that is
--                  kept is another server's or epoch's; then nothing was done. Per ask
--                  admit: bits of the policies violated, then the five of the state
--                  give back: the five of the state      refuse: the minute's count
--                  admit shadowed: as admit, and the same of the shadow
--                  admit after a watch: besides, the eight of the evidence
--                  -1 first where the state is not of this generation: nothing was done
--
-- {i:N} is a hash of the state; {i:N}:refused:K a hash of collected and ends. The first
-- line has the server refuse the whole flush, not half of it, where it cannot write.
-- A state counts only under the generation in which it was loaded (load.lua): one that
-- an older server, a copy or an epoch gone by left behind does not. That of a shadow
-- counts under the generation and since when it is one: any other begins as what the real
-- limits have used by then, as if they had been changed to it.

local ADMIT, GIVE_BACK, REFUSE, WATCH = 0, 1, 2, 4
local UNKNOWN = -1
local RATE, DAILY, MONTHLY, REFUSED = 1, 2, 4, 8
local SECOND, MINUTE, DAY = 1000000, 60000000, 86400000000
local JAKARTA_OFFSET = 7 * 3600 * SECOND
local REFUSALS_A_MINUTE = 120
-- Kept this long after its last use could matter, so that a server clock set back by
-- less loses no window.
local GRACE = DAY

-- gateway/quota/harvest.py is the model of all that concerns evidence of harvesting.
local NEIGHBOUR, STRANGER, MISS, HIT = 3, -1, 4, -3
local SLOTS, NO_CLAIMS = 2048, '\0\0\0\0'
-- What is usual for an institution is forgotten when it has asked nothing for so long.
local USUAL_LIFE = 35 * DAY

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local sub, byte = string.sub, string.byte

local time = redis.call('TIME')
local now = tonumber(time[1]) * SECOND + tonumber(time[2])
local generation = redis.call('GET', KEYS[1]) or ''
if string.sub(generation, 1, #ARGV[1] + 1) ~= ARGV[1] .. '|' then
  return { now, '' }
end
local numbers, reply = cmsgpack.unpack(ARGV[2]), { now, generation }
local keys_read, numbers_read, texts_read = 1, 0, 2

local function next_key()
  keys_read = keys_read + 1
  return KEYS[keys_read]
end

local function next_number()
  numbers_read = numbers_read + 1
  return numbers[numbers_read]
end

local function next_text()
  texts_read = texts_read + 1
  return ARGV[texts_read]
end

local function minute_end()
  return now - now % MINUTE + MINUTE
end

local function day_end()
  return now - (now + JAKARTA_OFFSET) % DAY + DAY
end

-- Days from 0000-03-01 to the first of `month` (0 is March, so that leap days end a
-- year) and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
local function days_to(year, month)
  local leaps = floor(year / 4) - floor(year / 100) + floor(year / 400)
  return 365 * year + leaps + floor((153 * month + 2) / 5)
end

local UNIX_EPOCH = 719468

local function month_end()
  local days = floor((now + JAKARTA_OFFSET) / DAY) + UNIX_EPOCH
  local era, of_era = floor(days / 146097), days % 146097
  local leaps = floor(of_era / 1460) - floor(of_era / 36524) + floor(of_era / 146096)
  local year = era * 400 + floor((of_era - leaps) / 365)
  local month = floor((5 * (days - days_to(year, 0)) + 2) / 153) + 1
  if month == 12 then
    year, month = year + 1, 0
  end
  return (days_to(year, month) - UNIX_EPOCH) * DAY - JAKARTA_OFFSET
end

-- What this flush has read or changed, by key: read once, and written once at its end.
local states, refusals = {}, {}

local function read(key)
  if states[key] == nil then
    local kept = redis.call('HMGET', key,
      'tat', 'day_used', 'day_ends', 'month_used', 'month_ends', 'generation')
    states[key] = kept[6] and {
      tat = tonumber(kept[1] or 0),
      day_used = tonumber(kept[2] or 0), day_ends = tonumber(kept[3] or 0),
      month_used = tonumber(kept[4] or 0), month_ends = tonumber(kept[5] or 0),
      generation = kept[6],
    }
  end
  return states[key]
end

local function turned(key, of)
  local state = read(key)
  if not state or state.generation ~= of then
    return nil
  end
  if now >= state.day_ends then
    state.day_used, state.day_ends = 0, day_end()
    state.changed, state.turned = true, true
  end
  if now >= state.month_ends then
    state.month_used, state.month_ends = 0, month_end()
    state.changed, state.turned, state.begins = true, true, true
  end
  return state
end

-- The first write of a month sets the expiry, the others keep it: half the replication.
-- A burst that takes weeks to come back outlives the month and moves it on.
local function keep(key, state)
  redis.call('HSET', key, 'tat', state.tat,
    'day_used', state.day_used, 'month_used', state.month_used)
  if state.turned then
    redis.call('HSET', key, 'generation', state.generation,
      'day_ends', state.day_ends, 'month_ends', state.month_ends)
  end
  if state.begins or state.tat > state.month_ends then
    local matters_until = max(state.tat, state.month_ends)
    redis.call('PEXPIREAT', key, ceil((matters_until + GRACE) / 1000))
  end
end

local function answer(state)
  local last = #reply
  if not state then
    for n = 1, 5 do reply[last + n] = UNKNOWN end
    return
  end
  reply[last + 1], reply[last + 2], reply[last + 3] = state.tat, state.day_used, state.day_ends
  reply[last + 4], reply[last + 5] = state.month_used, state.month_ends
end

local function refusals_of(key)
  if refusals[key] == nil then
    local kept = redis.call('HMGET', key, 'collected', 'ends')
    refusals[key] = tonumber(kept[2] or 0) == minute_end() and tonumber(kept[1]) or 0
  end
  return refusals[key]
end

-- Decides over a state that is there, and spends from it or does not.
local function decide(state, rate, burst, day, month, rate_cost, quota_cost, refused)
  local interval, violated = ceil(SECOND / rate), 0
  local capacity = burst * interval
  if state.tat > now + capacity then
    state.tat, state.changed = now + capacity, true
  end
  local tat = max(state.tat, now) + rate_cost * interval
  local day_used, month_used = state.day_used + quota_cost, state.month_used + quota_cost
  if tat - now > capacity then violated = violated + RATE end
  if quota_cost > 0 and day_used > day then violated = violated + DAILY end
  if quota_cost > 0 and month_used > month then violated = violated + MONTHLY end
  if refused then violated = violated + REFUSED end
  if violated == 0 and rate_cost + quota_cost > 0 then
    state.tat, state.day_used, state.month_used, state.changed = tat, day_used, month_used, true
  end
  reply[#reply + 1] = violated
  answer(state)
  return violated == 0
end

local function begun(key, of, state)
  states[key] = {
    tat = state.tat, day_used = state.day_used, day_ends = state.day_ends,
    month_used = state.month_used, month_ends = state.month_ends, generation = of,
    changed = true, turned = true, begins = true,
  }
  return states[key]
end

-- The evidence of a day, by its first key: read once a flush, and written once.
local days = {}
-- What the ask that comes next is watched for: no table, since nearly every ask is.
local watched = false
local harvest_key, asked_key, prefixes_key
local since, most_claims, found, near, misses, sights

local function watch()
  watched = true
  harvest_key, asked_key, prefixes_key = next_key(), next_key(), next_key()
  since, most_claims, found, near = next_number(), next_number(), next_number(), next_number()
  misses, sights = next_text(), next_text()
end

-- What is only of that day is there from its beginning, so that it expires.
local function begin_day(day)
  redis.call('UNLINK', day.keys[2], day.keys[3])
  redis.call('HSET', day.keys[2], '', '')
  redis.call('SETRANGE', day.keys[3], 2 * SLOTS - 1, '\0')
  day.usual = max(day.subjects, floor(day.usual * 7 / 8))
  day.score, day.alike, day.canaries, day.subjects = 0, 0, 0, 0
  day.ends, day.since, day.new = day_end(), since, true
end

-- Nil for a worker that has not heard yet that it was begun anew.
local function day_of()
  local day = days[harvest_key]
  if not day then
    local kept = redis.call('HMGET', harvest_key,
      'score', 'alike', 'canaries', 'subjects', 'usual', 'ends', 'since')
    for n = 1, 7 do kept[n] = tonumber(kept[n] or 0) end
    day = {
      keys = { harvest_key, asked_key, prefixes_key },
      score = kept[1], alike = kept[2], canaries = kept[3], subjects = kept[4],
      usual = kept[5], ends = kept[6], since = kept[7],
    }
    days[harvest_key] = day
  end
  if since < day.since then return nil end
  if now >= day.ends or since > day.since then begin_day(day) end
  return day
end

local function keep_day(day)
  local key = day.keys[1]
  redis.call('HSET', key, 'score', day.score, 'alike', day.alike,
    'canaries', day.canaries, 'subjects', day.subjects)
  if day.new then
    redis.call('HSET', key, 'usual', day.usual, 'ends', day.ends, 'since', day.since)
    redis.call('PEXPIREAT', key, ceil((day.ends + USUAL_LIFE) / 1000))
    for n = 2, 3 do redis.call('PEXPIREAT', day.keys[n], ceil(day.ends / 1000)) end
  end
end

-- What became of subjects that were new.
local function learn(day)
  local missed = #misses / 8
  if found + missed + near == 0 then return end
  day.score = max(0, day.score + MISS * missed + HIT * found
    + NEIGHBOUR * near + STRANGER * (found + missed - near))
  for at = 1, #misses, 8 do
    local times = redis.call('HINCRBY', asked_key, 'm' .. sub(misses, at, at + 7), 1)
    day.alike = max(day.alike, times)
  end
end

-- Whether others of that prefix were asked about lately.
local function meet(prefix)
  local tag = sub(prefix, 3, 4)
  local place = (byte(prefix, 1) * 256 + byte(prefix, 2)) % SLOTS * 2
  if redis.call('GETRANGE', prefixes_key, place, place + 1) == tag then
    return 1
  end
  redis.call('SETRANGE', prefixes_key, place, tag)
  return 0
end

-- One subject: whether it is new, then if it is near another, and whether these are one
-- more than the claims that may be asked of it.
local function see(day, sight)
  local subject, claims = sub(sight, 1, 8), sub(sight, 17, 20)
  local kept = redis.call('HGET', asked_key, subject)
  local asked, guessed = kept or '', 0
  if claims ~= NO_CLAIMS then
    local at = 1
    while at < #asked and sub(asked, at, at + 3) ~= claims do at = at + 4 end
    if at > most_claims * 4 then guessed = 1
    elseif at > #asked then asked = asked .. claims end
  end
  if asked ~= kept then redis.call('HSET', asked_key, subject, asked) end
  if kept then return 0, 0, guessed end
  day.subjects = day.subjects + 1
  day.canaries = day.canaries + byte(sight, 21)
  return 1, meet(sub(sight, 9, 16)), guessed
end

-- What is refused discloses nothing, and is no evidence.
local function tell_evidence(known, admitted)
  watched = false
  local last, day = #reply, known and day_of()
  if not day then
    for n = 1, 8 do reply[last + n] = 0 end
    return
  end
  learn(day)
  local new_ones, near_ones, guesses = 0, 0, 0
  for at = 1, admitted and #sights or 0, 21 do
    local new, neighbour, guess = see(day, sub(sights, at, at + 20))
    new_ones, near_ones, guesses = new_ones + new, near_ones + neighbour, guesses + guess
  end
  reply[last + 1], reply[last + 2], reply[last + 3] = day.score, day.alike, day.canaries
  reply[last + 4], reply[last + 5] = day.subjects, day.usual
  reply[last + 6], reply[last + 7], reply[last + 8] = new_ones, near_ones, guesses
end

local function admit(shadowed)
  local key, refused_key = next_key(), next_key()
  local rate, burst, day, month = next_number(), next_number(), next_number(), next_number()
  local rate_cost, quota_cost = next_number(), next_number()
  local state = turned(key, generation)
  local refused = refusals_of(refused_key) > REFUSALS_A_MINUTE
  local shadow, shadow_key, of
  if shadowed then
    shadow_key = next_key()
    shadow = { next_number(), next_number(), next_number(), next_number() }
    of = generation .. next_number()
  end
  if not state then
    for _ = 1, shadowed and 2 or 1 do
      reply[#reply + 1] = UNKNOWN
      answer(nil)
    end
    if watched then tell_evidence(false, false) end
    return
  end
  -- Before the real one spends: what it begins with has nothing of this ask.
  local beside = shadowed and (turned(shadow_key, of) or begun(shadow_key, of, state))
  local admitted = decide(state, rate, burst, day, month, rate_cost, quota_cost, refused)
  if beside then
    decide(beside, shadow[1], shadow[2], shadow[3], shadow[4],
      rate_cost, quota_cost, refused)
  end
  if watched then tell_evidence(true, admitted) end
end

local function give_back()
  local key, returned, quota_cost = next_key(), next_number(), next_number()
  local day_ends, month_ends = next_number(), next_number()
  -- Units spent in another generation are not in this one's count.
  local of = next_number()
  local here = of == generation or string.sub(of, 1, #generation + 1) == generation .. '#'
  local state = here and turned(key, of)
  if not state then
    return answer(nil)
  end
  state.tat = max(state.tat - returned, min(state.tat, now))
  if state.day_ends == day_ends then
    state.day_used = max(0, state.day_used - quota_cost)
  end
  if state.month_ends == month_ends then
    state.month_used = max(0, state.month_used - quota_cost)
  end
  state.changed = true
  answer(state)
end

local function refuse()
  local key, ends = next_key(), minute_end()
  local count = refusals_of(key) + 1
  refusals[key] = count
  redis.call('HSET', key, 'collected', count, 'ends', ends)
  redis.call('PEXPIREAT', key, ceil(ends / 1000))
  reply[#reply + 1] = count
end

while numbers_read < #numbers do
  local operation = next_number()
  if operation == GIVE_BACK then
    give_back()
  elseif operation == REFUSE then
    refuse()
  elseif operation == WATCH then
    watch()
  else
    admit(operation ~= ADMIT)
  end
end
for key, state in pairs(states) do
  if state and state.changed then
    keep(key, state)
  end
end
for _, day in pairs(days) do
  keep_day(day)
end
return reply
