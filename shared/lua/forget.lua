-- forget: nothing is left of a call that has ended but that there was one: what is late of it is known for that, and dropped.
-- ARGV 1 call
local call = ARGV[1]
local key = hash(call)
local state = redis.call('HGET', key, 'st')
if state == 'open' then return 'open' end
redis.call('DEL', log(call), P .. 'quality:' .. call)
for _, of_calls in ipairs({'index', 'wait', 'due', 'owed'}) do redis.call('ZREM', P .. of_calls, call) end
if redis.call('EXISTS', key) == 1 then
  redis.call('HDEL', key, 'asks')
  redis.call('HSET', key, 'st', 'closed')
end
return 'gone'
