-- seek: Meta may have taken our connect without saying so. Adopt the unknown call to this consumer, or whichever comes up.
-- ARGV 1 our call, 2 page:consumer, 3 how long to look, ms, 4 retention ms
-- returns Meta's id, or '' while there is none
local call, party = ARGV[1], ARGV[2]
local theirs = redis.call('HGET', hash(call), 'meta')
if theirs then return theirs end
theirs = redis.call('GET', P .. 'stranger:' .. party)
if not theirs then
  redis.call('SET', P .. 'unsure:' .. party, call, 'PX', ARGV[3])
  return ''
end
redis.call('DEL', P .. 'stranger:' .. party)
bind(call, theirs, cjson.encode({fact = 'ConnectAnswered', meta_id = theirs}), ARGV[4])
return theirs
