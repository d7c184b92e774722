-- restore: an owner writes the log of its call into an emptied Redis, and stays the owner; what was heard meanwhile follows.
-- ARGV 1 call, 2 worker, 3 epoch, 4 '1' if an accept may have been granted, 5 answer by ms ('' = unknown), 6 fact (LogRestored),
--      7 Meta's id of a call we placed ('' = unknown), 8 page:consumer whose leave it may wait for ('' = nobody's),
--      9 '1' if he may have been asked, 10 pseudonym of the consumer ('' = unknown), 11 for how long calls can be found, ms, then three for each entry of the log: fact, server ms, epoch
local call, worker, epoch, key = ARGV[1], ARGV[2], ARGV[3], hash(ARGV[1])
if holds(call, worker, epoch) then return 'restored' end
if not forgotten(call) then  -- somebody was given what looked like a new call; it is his, but not to be accepted again
  if ARGV[4] == '1' then redis.call('HSETNX', key, 'accept', 'restored') end
  return 'known'
end
local heard = redis.call('XRANGE', log(call), '-', '+')
redis.call('DEL', log(call))
redis.call('HSET', key, 'st', 'open', 'ep', epoch, 'own', worker, 'seq', (#ARGV - 11) / 3)
redis.call('PERSIST', key)
take_slot(worker, call)
redis.call('ZREM', P .. 'wait', call)
redis.call('ZADD', P .. 'index', ARGV[13], call)
if ARGV[10] ~= '' then list(call, ARGV[10], ARGV[13], ARGV[11]) end
for i = 12, #ARGV, 3 do
  redis.call('XADD', log(call), (i - 9) / 3 .. '-0', 'f', ARGV[i], 't', ARGV[i + 1], 'e', ARGV[i + 2])
end
deliver(worker, call, append(call, ARGV[6], 0), ARGV[6], 0)
for _, entry in ipairs(heard) do deliver(worker, call, append(call, entry[2][2], 0), entry[2][2], 0) end
if ARGV[4] == '1' then redis.call('HSET', key, 'accept', 'restored') end
if ARGV[7] ~= '' then
  redis.call('HSET', key, 'meta', ARGV[7])
  if redis.call('EXISTS', hash(ARGV[7])) == 0 then redis.call('HSET', hash(ARGV[7]), 'as', call) end
end
if ARGV[8] ~= '' then
  await_leave(call, ARGV[8], ARGV[5])
  if ARGV[9] == '1' then redis.call('HSET', key, 'optin', 'restored') end
end
if ARGV[5] ~= '' then
  redis.call('HSET', key, 'ans', ARGV[5])
  redis.call('ZADD', P .. 'due', ARGV[5], call)
end
return 'restored'
