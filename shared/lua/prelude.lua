-- What every step shares. Each script is this prelude followed by its own few lines; one EVALSHA is one step.
-- Keys, all under the prefix P = pl:{0}: (one hash tag, so that a step stays in one slot of a cluster):
--   call:<id>  hash    st (open|closed), own, ep, seq, ans (answer by, ms), end (only an ending is left), s:<identity>, accept;
--                     arm (the deadline is that of this entry); of a call we place: optin (asked by this job), asks
--                     (page:consumer whose leave it may wait for), con (connect granted, ms), meta (Meta's id of it);
--                     as: this is Meta's id of the call named here
--   log:<id>   stream  <seq>-0: f (fact as JSON), t (server ms), e (epoch)
--   quality:<id>  stream  samples of how the call sounds, written by shared/quality.py; they go with the log
--   in:<w>     stream  c (call), s (seq), t, e, f; p and pt on a claim: the arrival before it, so that nobody reads the log
--   workers    zset    worker -> lease end, ms        capacity  hash  worker -> slots (absent: takes no new calls)
--   free       zset    worker -> capacity less the calls it owns, of those that take new ones; `beat` counts it anew
--   own:<w>    set     calls the worker owns          wait      zset  call -> answer by: calls without an owner
--   due        zset    call -> armed deadline, ms     index     zset  call -> first heard of, ms
--   asking:<page:consumer>    set     calls, not closed yet, that may wait for this consumer's leave
--   unsure:<page:consumer>    zset    call whose connect Meta may have taken without saying so -> looked for until, ms
--   stranger:<page:consumer>  zset    Meta's id of a call that nobody here is known to have placed -> first heard of, ms
--   consumer:<pseudonym>      zset    call of this consumer -> first heard of, ms; read by shared/index.py, as is `hour`
--   closed     hash    outcome -> calls ever closed with it
--   hour:<n>   hash    of the calls closed in this hour since 1970, UTC: `outcome <outcome>` -> how many; `answer <ms>` ->
--                     how many waited for so long, to two digits, from the webhook until both could speak
--   owed       zset    call -> when to tell Meta its metrics, ms; filled by `done`, emptied by shared/owed.py
--   ended      stream  c (call), in the order of their ends, for as long as logs are kept; read by shared/ended.py
--   deaths     zset    `<worker> <calls it held>` -> noticed that it is not heard of any more, ms; for a day
--   beaten     when anybody last beat, ms             memory    made anew by the first beat after the server was emptied
local P = 'pl:{0}:'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function hash(call) return P .. 'call:' .. call end
local function log(call) return P .. 'log:' .. call end
local function inbox(worker) return P .. 'in:' .. worker end
local function owned(worker) return P .. 'own:' .. worker end

-- append a fact to the call's log; returns its sequence number
local function append(call, fact, epoch)
  local seq = redis.call('HINCRBY', hash(call), 'seq', 1)
  redis.call('XADD', log(call), seq .. '-0', 'f', fact, 't', now, 'e', epoch)
  return seq
end

local function deliver(worker, call, seq, fact, epoch)
  redis.call('XADD', inbox(worker), '*', 'c', call, 's', seq, 't', now, 'e', epoch, 'f', fact)
end

-- a call takes a worker's slot, or leaves it; a worker that takes no new calls is not in `free`, and stays out
local function take_slot(worker, call)
  if redis.call('SADD', owned(worker), call) == 1 then redis.call('ZADD', P .. 'free', 'XX', 'INCR', -1, worker) end
end

local function leave_slot(worker, call)
  if redis.call('SREM', owned(worker), call) == 1 then redis.call('ZADD', P .. 'free', 'XX', 'INCR', 1, worker) end
end

-- the live worker with the most free slots; an ending needs none
local function roomiest(ending)
  local from, lot = 0, 16
  while true do
    local best = redis.call('ZREVRANGE', P .. 'free', from, from + lot - 1, 'WITHSCORES')
    for i = 1, #best, 2 do
      if tonumber(best[i + 1]) <= 0 and not ending then return nil end
      if (tonumber(redis.call('ZSCORE', P .. 'workers', best[i]) or 0) or 0) > now then return best[i] end
    end
    if #best < 2 * lot then return nil end
    from = from + lot
  end
end

-- bind the call to a worker under the next epoch, or let it wait; `arrival` is handed over where nothing else happened yet
local function place(call, arrival)
  local key = hash(call)
  local state = redis.call('HMGET', key, 'end', 'ans')
  local worker = roomiest(state[1])
  if not worker then
    redis.call('HDEL', key, 'own')
    redis.call('ZADD', P .. 'wait', state[1] and 0 or state[2] or now, call)  -- endings first
    return nil
  end
  local epoch = redis.call('HINCRBY', key, 'ep', 1)
  redis.call('HSET', key, 'own', worker)
  take_slot(worker, call)
  redis.call('ZREM', P .. 'wait', call)
  local claimed = cjson.encode({fact = 'Claimed', worker = worker})
  local seq = append(call, claimed, epoch)
  if arrival then
    redis.call('XADD', inbox(worker), '*', 'c', call, 's', seq, 't', now, 'e', epoch, 'f', claimed, 'p', arrival, 'pt', now)
  else
    deliver(worker, call, seq, claimed, epoch)
  end
  return worker
end

-- let waiting calls in while there is room, the most urgent first
local function admit(most)
  for _, call in ipairs(redis.call('ZRANGE', P .. 'wait', 0, most - 1)) do
    if redis.call('EXISTS', hash(call)) == 0 then redis.call('ZREM', P .. 'wait', call)
    elseif not place(call) then return end
  end
end

-- let the call be found by its consumer, for as long as by its time
local function list(call, consumer, at, retention)
  local calls = P .. 'consumer:' .. consumer
  redis.call('ZREMRANGEBYSCORE', calls, '-inf', now - retention)
  redis.call('ZADD', calls, 'NX', at, call)
  redis.call('PEXPIRE', calls, retention)
end

-- let an answer of this consumer's find the call until it is closed: for longer, perhaps, than a log is kept
local function await_leave(call, party, answer_by)
  local asking = P .. 'asking:' .. party
  redis.call('HSET', hash(call), 'asks', party)
  redis.call('SADD', asking, call)
  redis.call('PEXPIRE', asking, math.max(redis.call('PTTL', asking), answer_by - now + 86400000))
end

-- whether the server has lost what it knew of a call that somebody owns
local function forgotten(call)
  local h = redis.call('HMGET', hash(call), 'ep', 'as')
  return not (h[1] or h[2])
end

-- the owner and epoch, if this worker still has the call
local function holds(call, worker, epoch)
  local h = redis.call('HMGET', hash(call), 'own', 'ep')
  return h[1] == worker and h[2] == epoch
end

-- whether a call of Meta's, first heard of at `heard`, may be what became of our connect
local function may_be(ours, heard)
  local h = redis.call('HMGET', hash(ours), 'st', 'con', 'meta')
  return h[1] == 'open' and not h[3] and tonumber(heard) >= tonumber(h[2] or 0)
end

-- whether a call was closed, and its log has gone since, by its time or because somebody is to be forgotten: what is late of it has no place any more
local function is_removed(call, state) return state == 'closed' and redis.call('EXISTS', log(call)) == 0 end

-- append a fact and bring it to whoever has to act on it; of a call on the shelf that is whoever has room
local function tell(call, fact, epoch)
  local h = redis.call('HMGET', hash(call), 'st', 'own')
  if is_removed(call, h[1]) then return end
  local seq = append(call, fact, epoch)
  if h[1] == 'closed' then return end
  if h[2] then deliver(h[2], call, seq, fact, epoch)
  elseif h[1] == 'open' then place(call) end
end

-- bind Meta's id to the call we placed, with the fact that says so; what was heard under that id before follows in order
local function bind(call, theirs, fact, retention)
  local alias = hash(theirs)
  local holder = redis.call('HGET', alias, 'own')  -- somebody was asked to end what he took for an unknown call
  if holder then leave_slot(holder, theirs) end
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
  if redis.call('HGET', hash(call), 'st') == 'closed' then redis.call('PEXPIRE', alias, retention) end
  tell(call, fact, 0)
  local joined = 0
  for _, entry in ipairs(parked) do
    local said, epoch = entry[2][2], entry[2][6]
    -- what a worker, or `beat`, said of the call it took for an unknown one is not ours
    if epoch == '0' and not string.find(said, '"fact":"DeadlinePassed"', 1, true) then
      tell(call, said, 0)
      joined = joined + 1
    end
  end
  return joined
end
