-- fence: may this epoch send this action to Graph? At most one `accept` or `connect` is granted in a call's life, and none
-- after a farewell; `withdraw` is the farewell to a `connect` that was not granted. A consumer is asked for leave once.
-- ARGV 1 call, 2 epoch, 3 action, 4 token (the job's id), 5 '1' to ask for the one probe after an ambiguous accept;
--      of other actions, to ask only whether this very job had leave
-- returns go | again (granted to this very job before) | orphaned (so, and another has the call) | stale | refused
local call, epoch, action, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = hash(call)
local h = redis.call('HMGET', key, 'ep', 'own', 'accept', 'st')
if action == 'connect' and h[3] == token and (h[1] ~= epoch or h[4] == 'closed' or not h[2]) then return 'orphaned' end
if action == 'terminate' and epoch == '0' and not h[1] then return 'go' end  -- of a call of Meta's that nobody here has
if h[1] ~= epoch or h[4] == 'closed' then return 'stale' end
if action == 'withdraw' and h[3] and h[3] ~= 'barred' then return 'refused' end
if action == 'optin' then
  if ARGV[5] ~= '1' and redis.call('HSETNX', key, 'optin', token) == 1 then return 'go' end
  return redis.call('HGET', key, 'optin') == token and 'again' or 'refused'
end
if action == 'reject' or action == 'terminate' or action == 'withdraw' then
  redis.call('HSET', key, 'accept', 'barred')
  return 'go'
end
if action ~= 'accept' and action ~= 'connect' then return 'go' end
if not h[2] then return 'stale' end  -- handed back: the leg of this offer is gone
if not h[3] and (action == 'accept' or ARGV[5] ~= '1') then
  redis.call('HSET', key, 'accept', token)
  if action == 'connect' then redis.call('HSET', key, 'con', now) end
  local fact = cjson.encode({fact = 'ActionGranted', action = action})
  local seq = append(call, fact, epoch)
  deliver(h[2], call, seq, fact, epoch)
  return 'go'
end
if h[3] ~= token then return 'refused' end
if action == 'accept' and ARGV[5] == '1' and redis.call('HSETNX', key, 'probed', 1) == 0 then return 'refused' end
return 'again'
