-- Set how long a conversation is kept after the end of its last request.
-- KEYS   1 ring
-- ARGV   1 conversation  2 keep_s
-- ->     OK '' | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept
-- Requests of the conversation that end from now on are kept for at most the same time. The time of an idle
-- conversation counts from its last end.
local conversation, keep_s = unpack(ARGV)
local conversation_key = P .. 'conv:' .. conversation
if call('EXISTS', conversation_key) == 0 then return { 'MISSING', '' } end
call('HSET', conversation_key, 'keep', keep_s)
local known = call('HMGET', conversation_key, 'active', 'idle')
if not known[1] and known[2] then
  local rest_ms = int(math.max(1, tonumber(known[2]) + keep_s * 1000 - now))
  call('PEXPIRE', conversation_key, rest_ms)
  call('PEXPIRE', conversation_key .. ':turns', rest_ms)
  move_kept(conversation_key, rest_ms / 1000)
end
return { 'OK', '' }
