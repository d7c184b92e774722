-- desk_sit: an agent's page takes its seat, keeps it, says whether the agent is ready, or leaves it.
-- ARGV 1 how (enter, keep, leave), 2 agent, 3 connection, 4 lease ms, 5 ready ('1', '0', '' as it was), 6 queues, 7 role
local how, agent, conn, ready = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local seat = seat_of(agent)
prune()
local holder = redis.call('HGET', seat, 'conn')
if how ~= 'enter' and holder ~= conn then return (holder or '') ~= '' and 'elsewhere' or 'gone' end
if how == 'leave' then  -- the lease goes on: a page that comes back at once has sent nobody who waits away
  redis.call('HSET', seat, 'conn', '')
  news()
  return 'left'
end
if how == 'enter' then
  redis.call('HSET', seat, 'conn', conn, 'queues', ARGV[6], 'role', ARGV[7])
  redis.call('HSETNX', seat, 'ready', '0')
  news()
end
if ready ~= '' and redis.call('HGET', seat, 'ready') ~= ready then
  redis.call('HSET', seat, 'ready', ready)
  news()
end
redis.call('ZADD', D .. 'seats', now + ARGV[4], agent)
return 'kept'
