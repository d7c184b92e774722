-- desk_look: everything that the desk shows, as it is now.
-- returns {now, seats, waiting, talks}; each row a list, see shared/desk/floor.py
prune()
local seats, waiting, talks = {}, {}, {}
for _, agent in ipairs(redis.call('ZRANGE', D .. 'seats', 0, -1)) do
  local h = redis.call('HMGET', seat_of(agent), 'ready', 'queues', 'role', 'conn')
  if h[4] ~= '' then table.insert(seats, {agent, h[1], h[2], h[3]}) end
end
for _, call in ipairs(redis.call('ZRANGE', D .. 'waiting', 0, -1)) do
  local h = redis.call('HMGET', wait_of(call), 'queue', 'for', 'since', 'page', 'caller')
  table.insert(waiting, {call, h[1], h[2], h[3], h[4], h[5]})
end
for _, call in ipairs(redis.call('ZRANGE', D .. 'talks', 0, -1)) do
  local h = redis.call('HMGET', talk_of(call), 'agent', 'leg', 'queue', 'since', 'page', 'caller', 'state')
  table.insert(talks, {call, h[1], h[2], h[3], h[4], h[5], h[6], h[7]})
end
return {string.format('%.0f', now), seats, waiting, talks}
