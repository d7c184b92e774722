-- fence: may this epoch send this action to Graph? At most one `accept` or `connect` is granted in a call's life, and none
-- after a farewell; `withdraw` is the farewell to a `connect` that was not granted. A consumer is asked for leave once.
-- ARGV 1 call, 2 epoch, 3 action, 4 token (the job's id), 5 '1' to ask for the one probe after an ambiguous accept
-- returns go | again (granted to this very job before) | stale | refused
local call, epoch, action, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = hash(call)
local h = redis.call('HMGET', key, 'ep', 'own', 'accept', 'st')
if h[1] ~= epoch or h[4] == 'closed' then return 'stale' end
if action == 'withdraw' and h[3] and h[3] ~= 'barred' then return 'refused' end
if action == 'optin' then
  if redis.call('HSETNX', key, 'optin', token) == 1 then return 'go' end
  return redis.call('HGET', key, 'optin') == token and 'again' or 'refused'
end
if action == 'reject' or action == 'terminate' or action == 'withdraw' then
  redis.call('HSET', key, 'accept', 'barred')
  return 'go'
end
if action ~= 'accept' and action ~= 'connect' then return 'go' end
if not h[2] then return 'stale' end  -- handed back: the leg of this offer is gone
if not h[3] then
  redis.call('HSET', key, 'accept', token)
  local fact = cjson.encode({fact = 'ActionGranted', action = action})
  local seq = append(call, fact, epoch)
  deliver(h[2], call, seq, fact, epoch)
  return 'go'
end
if h[3] ~= token then return 'refused' end
if ARGV[5] == '1' and redis.call('HSETNX', key, 'probed', 1) == 0 then return 'refused' end
return 'again'
