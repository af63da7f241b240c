-- Give a conversation a title.
-- KEYS   1 ring
-- ARGV   1 conversation  2 title  3 by (user|model)  4 claim, a nonce|''  5 request_id|''
-- ->     OK '' | MISSING '' | FENCED ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- A title of a user stays. The model's title needs a claim that is not over, and the request that it was made of
-- must still exist, because an erased question must not come back as a title.
local conversation, title, by, claim, request_id = unpack(ARGV)
local conversation_key = P .. 'conv:' .. conversation
if call('EXISTS', conversation_key) == 0 then return { 'MISSING', '' } end
local known = call('HMGET', conversation_key, 'title', 'title_by', 'title_claim', 'title_until')
if by == 'model' then
  local is_claimed = known[3] == claim and now <= tonumber(known[4] or 0)
  if known[2] == 'user' or not is_claimed or call('EXISTS', P .. 'req:' .. request_id) == 0 then
    return { 'FENCED', '' }
  end
end
if known[1] ~= title or known[2] ~= by then
  call('HSET', conversation_key, 'title', title, 'title_by', by, 'title_of', request_id)
  call('SPUBLISH', P .. 'push:conv:' .. conversation, '')
end
return { 'OK', '' }
