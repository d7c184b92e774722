-- seek: Meta may have taken our connect without saying so. Adopt the unknown call to this consumer, or whichever comes up.
-- ARGV 1 our call, 2 page:consumer, 3 how long to look, ms, 4 retention ms
-- returns Meta's id, or '' while there is none
local call, party = ARGV[1], ARGV[2]
local theirs = redis.call('HGET', hash(call), 'meta')
if theirs then return theirs end
local strangers = P .. 'stranger:' .. party
for _, stranger in ipairs(redis.call('ZRANGE', strangers, 0, -1)) do
  local heard = redis.call('ZSCORE', strangers, stranger)
  if redis.call('HEXISTS', hash(stranger), 'as') == 0 and may_be(call, heard) then
    redis.call('ZREM', strangers, stranger)
    bind(call, stranger, cjson.encode({fact = 'ConnectAnswered', meta_id = stranger}), ARGV[4])
    return stranger
  end
end
redis.call('ZADD', P .. 'unsure:' .. party, now + ARGV[3], call)
redis.call('PEXPIRE', P .. 'unsure:' .. party, ARGV[3])
return ''
