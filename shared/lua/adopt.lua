-- adopt: bind a call we placed to the id Meta gave it, whoever owns it now; later facts under that id go to the call.
-- ARGV 1 our call, 2 Meta's id, 3 fact (ConnectAnswered), 4 retention ms
-- returns what became of it, and how many facts that had overtaken the reply joined the log
local call, theirs = ARGV[1], ARGV[2]
local known = redis.call('HGET', hash(theirs), 'as')
if known then return {known == call and 'known' or 'other', 0} end
local state = redis.call('HGET', hash(call), 'st')
if not state then return {'forgotten', 0} end
return {state == 'closed' and 'closed' or 'adopted', bind(call, theirs, ARGV[3], ARGV[4])}
