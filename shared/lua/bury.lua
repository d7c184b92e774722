-- bury: keep a dead letter and count it; the oldest make room, counted too. Returns its id and how many made room.
-- KEYS 1 letters, 2 counts by reason, 3 counts of gone ones
-- ARGV 1 how many are kept, 2 reason, 3 id of the letter whose place it takes ('' = of none), 4... its fields
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
if ARGV[3] == '' or redis.call('XDEL', KEYS[1], ARGV[3]) == 0 then redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
local overflowed = redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[1])
if overflowed > 0 then redis.call('HINCRBY', KEYS[3], 'overflowed', overflowed) end
return {id, overflowed}
