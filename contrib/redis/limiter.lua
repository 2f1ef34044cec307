-- One round of one line of a process: what it gives back, what it holds, who waits.
-- Returns the ids of those who wait that have a place now.
--
-- KEYS  places   id -> when its lease ends
--       queue    id -> its turn
--       waiters  id -> when its process has been silent for too long
--       state    clock, when a round was last; settled, when places are given again
-- ARGV  limit, lease and tick in ms, name of the line, prefix of channels,
--       and for each id: what (release, hold, wait), the id, its wait so far in us
--
-- Time is that of this server. It may jump: no end is further away than it can be.
local places, queue, waiters, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, lease, tick = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local line, channel = ARGV[4], ARGV[5]
local unconfirmed, settling = 3 * tick, 5 * tick

local time = redis.call('TIME')
local us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(us / 1000)

local function clamp(key, most)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. (now + most), '+inf')) do
    redis.call('ZADD', key, now + most, id)
  end
end
clamp(places, lease)
clamp(waiters, unconfirmed)

-- What has places says so at every tick. If nobody has for a lease, all leases have run
-- out at once, and either nobody lives or the clock has jumped; and a server that has
-- just started may have forgotten them. So nothing is given before the living have
-- spoken.
local settled = tonumber(redis.call('HGET', state, 'settled') or 0)
local clock = tonumber(redis.call('HGET', state, 'clock') or now)
if now - clock >= lease - 2 * tick and redis.call('ZCARD', places) > 0 or settled > now + settling then
  settled = now + settling
  redis.call('HSET', state, 'settled', settled)
end
redis.call('HSET', state, 'clock', now)
local info = redis.pcall('INFO', 'server')
local uptime = type(info) == 'string' and tonumber(string.match(info, 'uptime_in_seconds:(%d+)'))
local mayGive = now >= settled and not (uptime and uptime * 1000 < settling)

local granted = {}
for i = 6, #ARGV, 3 do
  local what, id, age = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if what == 'release' then
    redis.call('ZREM', places, id)
    redis.call('ZREM', queue, id)
    redis.call('ZREM', waiters, id)
  elseif what == 'hold' then
    if redis.call('ZADD', places, now + lease, id) == 1 then -- forgotten, or admitted without us
      redis.call('ZREM', queue, id)
      redis.call('ZREM', waiters, id)
    end
  elseif redis.call('ZSCORE', places, id) then
    redis.call('ZADD', places, now + lease, id)
    granted[#granted + 1] = id
  else
    -- Who is new comes now. Who is not came when its age says, less what the round took
    -- to get here: the earliest is the best guess, and follows a clock that is turned back.
    local turn = us - age
    local before = redis.call('ZSCORE', queue, id)
    if not before or turn < tonumber(before) then
      redis.call('ZADD', queue, turn, id)
    end
    redis.call('ZADD', waiters, now + unconfirmed, id)
  end
end

redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiters, '-inf', now)) do
  redis.call('ZREM', queue, id)
  redis.call('ZREM', waiters, id)
end

local free = mayGive and limit - redis.call('ZCARD', places) or 0
while free > 0 do
  local id = redis.call('ZPOPMIN', queue)[1]
  if not id then break end
  redis.call('ZREM', waiters, id)
  local owner = string.match(id, '^(.*)/')
  if owner == line then
    redis.call('ZADD', places, now + lease, id)
    granted[#granted + 1] = id
  else -- until its process has asked for it, if it lives
    redis.call('ZADD', places, now + unconfirmed, id)
    redis.call('PUBLISH', channel .. owner, id)
  end
  free = free - 1
end

for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, 86400000)
end
return granted
