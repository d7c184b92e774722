-- arm: the owner sets the one deadline of its call, or clears it. ARGV 1 call, 2 worker, 3 epoch, 4 deadline ms ('' = none)
if forgotten(ARGV[1]) then return 'forgotten' end
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 'stale' end
if ARGV[4] == '' then redis.call('ZREM', P .. 'due', ARGV[1])
else redis.call('ZADD', P .. 'due', ARGV[4], ARGV[1]) end
return 'armed'
