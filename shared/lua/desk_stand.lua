-- desk_stand: how a waiting call stands: its place in its queue (0 = it does not wait), and whether anybody of whom it
-- waits for has the desk open. With ARGV 2 = '1' it stops waiting, unless an agent has it already.
-- ARGV 1 call, 2 '1' to stop waiting
local call = ARGV[1]
prune()
local h = redis.call('HMGET', wait_of(call), 'queue', 'for')
if not h[1] then return {0, 1} end
if ARGV[2] == '1' then
  drop_wait(call)
  news()
  return {0, 0}
end
local place = 0
for _, other in ipairs(redis.call('ZRANGE', D .. 'waiting', 0, -1)) do
  local o = redis.call('HMGET', wait_of(other), 'queue', 'for')
  if o[1] == h[1] and o[2] == h[2] then place = place + 1 end
  if other == call then break end
end
local staffed = 0
for _, agent in ipairs(redis.call('ZRANGE', D .. 'seats', 0, -1)) do
  if h[2] == agent or h[2] == '' and serves(redis.call('HGET', seat_of(agent), 'queues'), h[1]) then staffed = 1 end
end
return {place, staffed}
