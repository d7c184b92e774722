-- shelve: the owner lets go of a call until something happens to it; unless something has, since entry `seq` of its log.
-- ARGV 1 call, 2 worker, 3 epoch, 4 fact (HandedBack), 5 seq, 6 deadline ms
local call, worker = ARGV[1], ARGV[2]
if forgotten(call) then return 'forgotten' end
if not holds(call, worker, ARGV[3]) then return 'stale' end
if redis.call('HGET', hash(call), 'seq') ~= ARGV[5] then return 'moved' end
append(call, ARGV[4], ARGV[3])
leave_slot(worker, call)
redis.call('HDEL', hash(call), 'own')
redis.call('ZADD', P .. 'due', ARGV[6], call)
admit(4)
return 'shelved'
