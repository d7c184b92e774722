-- What the desk's steps share, after the prelude. Keys under D = pl:{0}:desk:
--   agents       hash   name -> the account, written by shared/desk/accounts.py; so are session:<digest> and tries:<who>
--   seats        zset   agent -> lease end, ms: who has the desk open
--   seat:<agent> hash   conn (of the page that has it, '' once that left), ready ('1'), queues (comma-separated), role
--   waiting      zset   call -> its turn: since when it waits, ms; less AHEAD for one that comes before all others
--   wait:<call>  hash   epoch, queue, for (an agent, or ''), since, page, caller (what agents see of it)
--   talks        zset   call -> since when an agent has it, ms
--   talk:<call>  hash   epoch, agent, leg, queue, since, page, caller, state (connecting, live, held)
--   news         stream bounded; whatever changes is told in it, so that all web processes look
local D = P .. 'desk:'
local AHEAD = 1e12

local function news() redis.call('XADD', D .. 'news', 'MAXLEN', '~', 64, '*', 'n', 1) end
local function seat_of(agent) return D .. 'seat:' .. agent end
local function wait_of(call) return D .. 'wait:' .. call end
local function talk_of(call) return D .. 'talk:' .. call end

-- whether the worker that let the call wait, or talk, has it still
local function in_hand(call, epoch)
  local h = redis.call('HMGET', hash(call), 'st', 'own', 'ep')
  if h[1] ~= 'open' or not h[2] or h[3] ~= epoch then return false end
  local lease = redis.call('ZSCORE', P .. 'workers', h[2])
  return lease and tonumber(lease) > now
end

local function drop_wait(call)
  redis.call('DEL', wait_of(call))
  return redis.call('ZREM', D .. 'waiting', call)
end

local function drop_talk(call)
  redis.call('DEL', talk_of(call))
  return redis.call('ZREM', D .. 'talks', call)
end

-- forget what died without a word: calls of dead workers, and agents whose page has gone
local function prune()
  local gone = 0
  for _, call in ipairs(redis.call('ZRANGE', D .. 'waiting', 0, -1)) do
    if not in_hand(call, redis.call('HGET', wait_of(call), 'epoch')) then gone = gone + drop_wait(call) end
  end
  for _, call in ipairs(redis.call('ZRANGE', D .. 'talks', 0, -1)) do
    if not in_hand(call, redis.call('HGET', talk_of(call), 'epoch')) then gone = gone + drop_talk(call) end
  end
  for _, agent in ipairs(redis.call('ZRANGEBYSCORE', D .. 'seats', '-inf', now)) do
    redis.call('DEL', seat_of(agent))
    gone = gone + redis.call('ZREM', D .. 'seats', agent)
  end
  if gone > 0 then news() end
end

local function serves(queues, queue) return string.find(',' .. queues .. ',', ',' .. queue .. ',', 1, true) end

-- the call an agent talks in, or nil
local function talk_with(agent)
  for _, call in ipairs(redis.call('ZRANGE', D .. 'talks', 0, -1)) do
    if redis.call('HGET', talk_of(call), 'agent') == agent then return call end
  end
end
