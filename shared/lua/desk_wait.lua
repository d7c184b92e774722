-- desk_wait: a call waits for an agent; returns since when, ms, or 0 where its worker has it no longer.
-- ARGV 1 call, 2 epoch, 3 queue, 4 agent it waits for ('' = any), 5 '1' if it comes before all others, 6 page, 7 caller,
--      8 since when it waits ('' = from now on), 9 keep ms
local call, since = ARGV[1], ARGV[8]
drop_wait(call)
drop_talk(call)
if not in_hand(call, ARGV[2]) then return 0 end
if since == '' then since = string.format('%.0f', now) end
redis.call('HSET', wait_of(call), 'epoch', ARGV[2], 'queue', ARGV[3], 'for', ARGV[4], 'since', since,
  'page', ARGV[6], 'caller', ARGV[7])
redis.call('PEXPIRE', wait_of(call), ARGV[9])
redis.call('ZADD', D .. 'waiting', ARGV[5] == '1' and since - AHEAD or since, call)
news()
return since
