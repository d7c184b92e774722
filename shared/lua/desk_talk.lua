-- desk_talk: the owner says how an agent's talk stands, or that it is over.
-- ARGV 1 call, 2 epoch, 3 leg, 4 state (live, held; '' = over)
local call, leg, state = ARGV[1], ARGV[3], ARGV[4]
local t = redis.call('HMGET', talk_of(call), 'epoch', 'leg', 'state')
if t[1] ~= ARGV[2] or t[2] ~= leg then return 0 end
if state == '' then drop_talk(call)
elseif t[3] ~= state then
  redis.call('HSET', talk_of(call), 'state', state, 'since', string.format('%.0f', now))
end
news()
return 1
