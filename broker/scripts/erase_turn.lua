-- Erase a turn whose request has expired.
-- KEYS   1 ring
-- ARGV   1 request_id  2 conversation  3 asked, a row  4 answered, a row|''  5 has_history (0|1)
-- ->     OK '' | ACTIVE state
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept erasure
-- A request that still exists is erased by erase.lua, which erases its turn, too.
local request_id, conversation, asked, answered, has_history = unpack(ARGV)
local state = call('HGET', P .. 'req:' .. request_id, 'state')
if state then return { 'ACTIVE', state } end
note_erasure(request_id)
erase_kept(request_id, has_history)
erase_turn(conversation, request_id, asked, answered)
return { 'OK', '' }
