-- Give a conversation a title.
-- KEYS   1 ring
-- ARGV   1 conversation  2 title  3 by (user|model)
-- ->     OK '' | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- A title of a user stays: a later one of the model changes nothing, and the reply is still OK.
local conversation, title, by = unpack(ARGV)
local conversation_key = P .. 'conv:' .. conversation
if call('EXISTS', conversation_key) == 0 then return { 'MISSING', '' } end
if by == 'user' or call('HGET', conversation_key, 'title_by') ~= 'user' then
  call('HSET', conversation_key, 'title', title, 'title_by', by)
end
return { 'OK', '' }
