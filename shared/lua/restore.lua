-- restore: who owned a call writes its log into an emptied Redis; somebody takes it over, and what was heard meanwhile follows.
-- ARGV 1 call, 2 epoch, 3 '1' if an accept was granted, 4 answer by ms ('' = unknown), 5 fact (LogRestored),
--      then three for each entry of the log: fact, server ms, epoch
local call, key = ARGV[1], hash(ARGV[1])
if not forgotten(call) then  -- somebody was given what looked like a new call; it is his, but not to be accepted again
  if ARGV[3] == '1' then redis.call('HSETNX', key, 'accept', 'restored') end
  return 'known'
end
local heard = redis.call('XRANGE', log(call), '-', '+')
redis.call('DEL', log(call))
redis.call('HSET', key, 'st', 'open', 'ep', ARGV[2], 'seq', (#ARGV - 5) / 3)
redis.call('PERSIST', key)
redis.call('ZADD', P .. 'index', ARGV[7], call)
for i = 6, #ARGV, 3 do
  redis.call('XADD', log(call), (i - 3) / 3 .. '-0', 'f', ARGV[i], 't', ARGV[i + 1], 'e', ARGV[i + 2])
end
append(call, ARGV[5], 0)
for _, entry in ipairs(heard) do append(call, entry[2][2], 0) end
if ARGV[3] == '1' then redis.call('HSET', key, 'accept', 'restored', 'end', 1) end
if ARGV[4] ~= '' then
  redis.call('HSET', key, 'ans', ARGV[4])
  redis.call('ZADD', P .. 'due', ARGV[4], call)
end
return place(call) and 'placed' or 'waiting'
