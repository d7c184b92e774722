-- desk_take: an agent takes a waiting call, exactly once, and the call's owner is told; or the one it has, over another
-- leg; or a supervisor listens in.
-- ARGV 1 agent, 2 connection, 3 call ('' = whoever waited longest), 4 leg, 5 '1' to listen in
-- returns {verdict} or {'taken', call, queue, page, caller}
local agent, conn, wanted, leg = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
prune()
local seat = redis.call('HMGET', seat_of(agent), 'conn', 'queues', 'role')
if seat[1] ~= conn then return {'gone'} end
local supervisor = seat[3] == 'supervisor'
local talks = talk_with(agent)
if talks and (talks ~= wanted or ARGV[5] == '1') then return {'busy'} end
if talks then  -- the page was opened anew: the same talk goes on over another leg
  local t = redis.call('HMGET', talk_of(talks), 'queue', 'page', 'caller')
  redis.call('HSET', talk_of(talks), 'leg', leg, 'state', 'connecting', 'since', string.format('%.0f', now))
  tell(talks, cjson.encode({fact = 'AgentAsked', agent = agent, leg = leg, queue = t[1]}), 0)
  news()
  return {'taken', talks, t[1], t[2], t[3]}
end

if ARGV[5] == '1' then
  local t = redis.call('HMGET', talk_of(wanted), 'queue', 'page', 'caller')
  if not supervisor then return {'forbidden'} end
  if not t[1] then return {'nobody'} end
  tell(wanted, cjson.encode({fact = 'AgentAsked', agent = agent, leg = leg, queue = t[1], listens = true}), 0)
  news()
  return {'taken', wanted, t[1], t[2], t[3]}
end

local function may(call)
  local w = redis.call('HMGET', wait_of(call), 'queue', 'for')
  if not w[1] then return false end
  if w[2] ~= '' then return w[2] == agent, true end
  return supervisor or serves(seat[2], w[1])
end
local found
if wanted ~= '' then
  if redis.call('ZSCORE', D .. 'waiting', wanted) == false then return {'nobody'} end
  if not may(wanted) then return {'forbidden'} end
  found = wanted
else
  for _, call in ipairs(redis.call('ZRANGE', D .. 'waiting', 0, -1)) do
    local mine, own = may(call)
    if mine and own then found = call break end  -- given to this agent: before those of the queues
    if mine and not found then found = call end
  end
  if not found then return {'nobody'} end
end
local w = redis.call('HMGET', wait_of(found), 'epoch', 'queue', 'page', 'caller')
drop_wait(found)
redis.call('HSET', talk_of(found), 'epoch', w[1], 'agent', agent, 'leg', leg, 'queue', w[2], 'page', w[3],
  'caller', w[4], 'state', 'connecting', 'since', string.format('%.0f', now))
redis.call('PEXPIRE', talk_of(found), 172800000)
redis.call('ZADD', D .. 'talks', now, found)
tell(found, cjson.encode({fact = 'AgentAsked', agent = agent, leg = leg, queue = w[2]}), 0)
news()
return {'taken', found, w[2], w[3], w[4]}
