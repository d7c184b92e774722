-- beat: renew a lease (or join, or only look after things), reap dead workers, let passed deadlines be facts, place what waits.
-- ARGV 1 worker ('' = look after things only), 2 lease ms, 3 capacity ('' = takes no new calls), 4 '1' to join,
--      5 last inbox id handled ('' = none), 6 how many calls to handle at the most, 7 for how long calls can be found, ms, 8 the memory joined under
local MISSED_MS = 1250  -- everybody beats once a second: by then a beat was missed, and by all
local RETURN_MS = 2500  -- what it takes at the least until all are back
local worker, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[6])
redis.call('SET', P .. 'memory', clock[1] .. '.' .. clock[2], 'NX')
local memory = redis.call('GET', P .. 'memory')
local last = tonumber(redis.call('GET', P .. 'beaten') or now)
redis.call('SET', P .. 'beaten', now)
if now - last > MISSED_MS then
  -- everybody was cut off, not one worker: until all had the time to come back, nobody is reaped who only could not say so
  redis.call('SET', P .. 'missed', now, 'PX', math.max(lease, RETURN_MS))
end
if worker ~= '' then
  if ARGV[4] ~= '1' and ARGV[8] ~= memory then return {'forgotten', now, memory} end
  if ARGV[4] ~= '1' then
    local lease_end = redis.call('ZSCORE', P .. 'workers', worker)
    if not lease_end or lease_end == '-inf' then return {'fenced', now, memory} end
  end
  redis.call('ZADD', P .. 'workers', now + lease, worker)
  if ARGV[3] == '' then
    redis.call('HDEL', P .. 'capacity', worker)
    redis.call('ZREM', P .. 'free', worker)
  else
    redis.call('HSET', P .. 'capacity', worker, ARGV[3])
    redis.call('ZADD', P .. 'free', ARGV[3] - redis.call('SCARD', owned(worker)), worker)
  end
  if ARGV[5] ~= '' then redis.call('XTRIM', inbox(worker), 'MINID', ARGV[5]) end
end
local reaped = {}
if redis.call('EXISTS', P .. 'missed') == 0 then
  reaped = redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now, 'LIMIT', 0, 4)
end
for _, dead in ipairs(reaped) do
  local lease_end = redis.call('ZSCORE', P .. 'workers', dead)
  if lease_end ~= '-inf' and tonumber(lease_end) < now then  -- it did not leave, and is noticed just now
    redis.call('ZREMRANGEBYSCORE', P .. 'deaths', '-inf', now - 86400000)
    redis.call('ZADD', P .. 'deaths', now, dead .. ' ' .. redis.call('SCARD', owned(dead)))
    redis.call('PEXPIRE', P .. 'deaths', 86400000)
  end
  redis.call('HDEL', P .. 'capacity', dead)
  redis.call('ZREM', P .. 'free', dead)
  redis.call('ZADD', P .. 'workers', '-inf', dead)  -- it may have more calls than fit in this step, and must not wake between two
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
return {'ok', now, memory}
