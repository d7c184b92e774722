-- route: one event, one step. Deduplicate, append to the call's log, then deliver to the owner, place, or let wait.
-- ARGV 1 call, 2 identity ('' = never a duplicate), 3 epoch ('0' = said by no owner), 4 fact, 5 wants an owner ('1', or
--      'end' where only an ending is left; 'known': no log is begun for it), 6 answer by ms ('' = unknown), 7 retention ms,
--      8 page:consumer whose leave the call may wait for ('' = nobody's), 9 page:consumer of a call that was placed,
--      10 pseudonym of the consumer whom the fact names ('' = nobody), 11 for how long calls can be found, ms
local call, identity, epoch, fact, wants = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = hash(call)
local h = redis.call('HMGET', key, 'st', 'own', 'ep', 'as')
if h[4] then -- Meta's id of a call we placed
  if epoch ~= '0' then return {'stale', 0} end  -- of whoever took it for an unknown call
  call, key = h[4], hash(h[4])
  h = redis.call('HMGET', key, 'st', 'own', 'ep')
end
if ARGV[9] ~= '' and not h[1] and not h[4] then
  local unsure, strangers = P .. 'unsure:' .. ARGV[9], P .. 'stranger:' .. ARGV[9]
  redis.call('ZREMRANGEBYSCORE', unsure, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', strangers, '-inf', now - 120000)
  local heard, found = redis.call('ZSCORE', strangers, call) or now, nil
  for _, ours in ipairs(redis.call('ZRANGE', unsure, 0, -1)) do
    if not found and may_be(ours, heard) then found = ours end
  end
  if found then
    redis.call('ZREM', unsure, found)
    bind(found, call, cjson.encode({fact = 'ConnectAnswered', meta_id = call}), ARGV[7])
    call, key = found, hash(found)
    h = redis.call('HMGET', key, 'st', 'own', 'ep')
  else
    redis.call('ZADD', strangers, 'NX', now, call)
    redis.call('PEXPIRE', strangers, 120000)
  end
end
local state, owner, current = h[1], h[2], h[3] or '0'
if epoch ~= '0' and epoch ~= current then return {h[3] and 'stale' or 'forgotten', 0} end
if wants == 'known' then
  if not state then return {'logged', 0} end
  wants = ''
end
if is_removed(call, state) then return {'duplicate', 0} end
if identity ~= '' and redis.call('HSETNX', key, 's:' .. identity, 1) == 0 then return {'duplicate', 0} end
local seq = append(call, fact, epoch)
if seq == 1 then
  redis.call('ZADD', P .. 'index', now, call)
  redis.call('PEXPIRE', key, ARGV[7])
  redis.call('PEXPIRE', log(call), ARGV[7])
end
if ARGV[10] ~= '' then list(call, ARGV[10], now, ARGV[11]) end
if state == 'closed' then return {'logged', seq} end
if wants ~= '' and not state then
  redis.call('HSET', key, 'st', 'open')
  redis.call('PERSIST', key)
  redis.call('PERSIST', log(call))
  state = 'open'
end
if ARGV[8] ~= '' then await_leave(call, ARGV[8], ARGV[6]) end
if wants == 'end' then redis.call('HSET', key, 'end', 1) end
if ARGV[6] ~= '' then
  redis.call('HSET', key, 'ans', ARGV[6])
  redis.call('ZADD', P .. 'due', 'NX', ARGV[6], call)
end
if owner then
  -- a dead owner's calls are taken over by `beat`, which then hands over the whole log
  deliver(owner, call, seq, fact, epoch)
  return {'delivered', seq}
end
if state ~= 'open' then return {'logged', seq} end
local worker = place(call, seq == 1 and fact or nil)
return {worker and 'placed' or 'waiting', seq}
