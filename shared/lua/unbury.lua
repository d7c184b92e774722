-- unbury: let a dead letter go and count how. Returns 0 if it was gone already.
-- KEYS 1 letters, 2 counts of gone ones; ARGV 1 its id, 2 how
local gone = redis.call('XDEL', KEYS[1], ARGV[1])
if gone > 0 then redis.call('HINCRBY', KEYS[2], ARGV[2], 1) end
return gone
