-- adopt: bind a call we placed to the id Meta gave it. What was heard under that id before joins the call's log, in order.
-- ARGV 1 our call, 2 worker, 3 epoch, 4 Meta's id
local call, theirs = ARGV[1], ARGV[4]
if not holds(call, ARGV[2], ARGV[3]) then return -1 end
local alias = hash(theirs)
local known = redis.call('HGET', alias, 'as')
if known then return known == call and 0 or -1 end
local holder = redis.call('HGET', alias, 'own')  -- somebody was asked to end what he took for an unknown call
if holder then redis.call('SREM', owned(holder), theirs) end
local parked = redis.call('XRANGE', log(theirs), '-', '+')
local marks = redis.call('HGETALL', alias)
redis.call('DEL', alias, log(theirs))
redis.call('ZREM', P .. 'index', theirs)
redis.call('ZREM', P .. 'wait', theirs)
redis.call('ZREM', P .. 'due', theirs)
for i = 1, #marks, 2 do
  if string.sub(marks[i], 1, 2) == 's:' then redis.call('HSETNX', hash(call), marks[i], 1) end
end
redis.call('HSET', alias, 'as', call)
redis.call('HSET', hash(call), 'meta', theirs)
local joined = 0
for _, entry in ipairs(parked) do
  local fact, epoch = entry[2][2], entry[2][6]
  -- what a worker, or `beat`, said of the call it took for an unknown one is not ours
  if epoch == '0' and not string.find(fact, '"fact":"DeadlinePassed"', 1, true) then
    deliver(ARGV[2], call, append(call, fact, 0), fact, 0)
    joined = joined + 1
  end
end
return joined
