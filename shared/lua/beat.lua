-- beat: renew a lease (or join, or only look after things), reap dead workers, let passed deadlines be facts, place what waits.
-- ARGV 1 worker ('' = look after things only), 2 lease ms, 3 capacity ('' = takes no new calls), 4 '1' to join,
--      5 last inbox id handled ('' = none), 6 how many calls to handle at the most, 7 retention ms
local worker, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[6])
local last = tonumber(redis.call('GET', P .. 'beaten') or now)
redis.call('SET', P .. 'beaten', now)
if now - last > lease / 2 then
  -- everybody was cut off, not one worker: nobody is reaped who only could not say so
  for _, w in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do redis.call('ZINCRBY', P .. 'workers', now - last, w) end
end
if worker ~= '' then
  if ARGV[4] ~= '1' and not redis.call('ZSCORE', P .. 'workers', worker) then return {'fenced', now} end
  redis.call('ZADD', P .. 'workers', now + lease, worker)
  if ARGV[3] == '' then redis.call('HDEL', P .. 'capacity', worker)
  else redis.call('HSET', P .. 'capacity', worker, ARGV[3]) end
  if ARGV[5] ~= '' then redis.call('XTRIM', inbox(worker), 'MINID', ARGV[5]) end
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now, 'LIMIT', 0, 4)) do
  redis.call('HDEL', P .. 'capacity', dead)
  for _, call in ipairs(redis.call('SRANDMEMBER', owned(dead), most)) do
    redis.call('SREM', owned(dead), call)
    if redis.call('HGET', hash(call), 'own') == dead then
      -- once accepted, or barred from it, a call whose owner died can only be ended
      if redis.call('HEXISTS', hash(call), 'accept') == 1 then redis.call('HSET', hash(call), 'end', 1) end
      place(call)
    end
  end
  if redis.call('SCARD', owned(dead)) == 0 then
    redis.call('ZREM', P .. 'workers', dead)
    redis.call('DEL', inbox(dead))
  end
end
for _, call in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now, 'LIMIT', 0, most)) do
  local deadline = redis.call('ZSCORE', P .. 'due', call)
  redis.call('ZREM', P .. 'due', call)
  local h = redis.call('HMGET', hash(call), 'st', 'own')
  if h[1] == 'open' then
    local fact = cjson.encode({fact = 'DeadlinePassed', deadline_ms = tonumber(deadline)})
    local seq = append(call, fact, 0)
    if h[2] then deliver(h[2], call, seq, fact, 0)
    else
      redis.call('HSET', hash(call), 'end', 1)
      place(call)
    end
  end
end
admit(most)
redis.call('ZREMRANGEBYSCORE', P .. 'index', '-inf', now - tonumber(ARGV[7]))
return {'ok', now}
