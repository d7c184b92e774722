-- done: the owner closes the call. Its seen marks stay for the retention, its log as long or less; its slot goes to whoever waits.
-- ARGV 1 call, 2 worker, 3 epoch, 4 fact (Closed), 5 retention ms, 6 outcome, 7 '1' if Meta was asked to connect it,
--      8 how long the caller waited, ms, to two digits ('' = was never answered, or did not call), 9 for how long its log stays, ms
local call, worker, epoch = ARGV[1], ARGV[2], ARGV[3]
local key = hash(call)
if redis.call('HGET', key, 'st') == 'closed' then return 'closed' end
if forgotten(call) then return 'forgotten' end
if not holds(call, worker, epoch) then return 'stale' end
deliver(worker, call, append(call, ARGV[4], epoch), ARGV[4], epoch)
redis.call('HSET', key, 'st', 'closed')
redis.call('HINCRBY', P .. 'closed', ARGV[6], 1)
local hour = P .. 'hour:' .. math.floor(now / 3600000)
redis.call('HINCRBY', hour, 'outcome ' .. ARGV[6], 1)
if ARGV[8] ~= '' then redis.call('HINCRBY', hour, 'answer ' .. ARGV[8], 1) end
redis.call('PEXPIRE', hour, math.max(ARGV[5], 172800000))  -- two days: today's figures want a day and what began it
redis.call('HDEL', key, 'own')
leave_slot(worker, call)
redis.call('ZREM', P .. 'due', call)
redis.call('PEXPIRE', key, ARGV[5])
redis.call('PEXPIRE', log(call), ARGV[9])
redis.call('PEXPIRE', P .. 'quality:' .. call, ARGV[9])
redis.call('XADD', P .. 'ended', 'MINID', '~', math.max(0, now - ARGV[9]), '*', 'c', call)
redis.call('PEXPIRE', P .. 'ended', ARGV[9])
local theirs = redis.call('HGET', key, 'meta')
if theirs then redis.call('PEXPIRE', hash(theirs), ARGV[5]) end
local asks = redis.call('HGET', key, 'asks')
if asks then redis.call('SREM', P .. 'asking:' .. asks, call) end
local accept = redis.call('HGET', key, 'accept')  -- granted since the owner looked, perhaps
if theirs or ARGV[7] == '1' or accept and accept ~= 'barred' then
  -- its metrics are owed to Meta, which takes them for a day, and none of a call that it has not ended yet
  redis.call('ZREMRANGEBYSCORE', P .. 'owed', '-inf', now - 86400000)
  redis.call('ZADD', P .. 'owed', now + 5000, call)
  redis.call('PEXPIRE', P .. 'owed', 90000000)
end
admit(4)
return 'closed'
