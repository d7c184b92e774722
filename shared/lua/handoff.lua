-- handoff: a draining owner returns a call it has not accepted; somebody else gets it at once, or it waits.
-- ARGV 1 call, 2 worker, 3 epoch, 4 fact (HandedBack), 5 '1' to return an accepted one too: only its ending is left
local call, worker, epoch = ARGV[1], ARGV[2], ARGV[3]
if not holds(call, worker, epoch) then return 'stale' end
if redis.call('HGET', hash(call), 'accept') then
  if ARGV[5] ~= '1' then return 'accepted' end
  redis.call('HSET', hash(call), 'end', 1)
end
append(call, ARGV[4], epoch)
leave_slot(worker, call)
redis.call('HDEL', hash(call), 'own')
return place(call) and 'placed' or 'waiting'
