-- arm: the owner sets the one deadline of its call, or clears it; what it thought before, and arrives late, is no matter.
-- ARGV 1 call, 2 worker, 3 epoch, 4 deadline ms ('' = none), 5 the last entry of its log that it knew
if forgotten(ARGV[1]) then return 'forgotten' end
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 'stale' end
if tonumber(ARGV[5]) < tonumber(redis.call('HGET', hash(ARGV[1]), 'arm') or 0) then return 'armed' end
redis.call('HSET', hash(ARGV[1]), 'arm', ARGV[5])
if ARGV[4] == '' then redis.call('ZREM', P .. 'due', ARGV[1])
else redis.call('ZADD', P .. 'due', ARGV[4], ARGV[1]) end
return 'armed'
