-- Claim the right to give a conversation a title of the model.
-- KEYS   1 ring
-- ARGV   1 request_id  2 conversation  3 nonce  4 claim_ms
-- ->     OK asked answered (rows) | FENCED ''
-- NEEDS  rights prefix
-- One worker gets the claim of a conversation, once, and only before the conversation is long. The claim is a part
-- of the conversation and disappears with it, so it never names a later conversation with the same id. A repeated
-- call with the same nonce gets the same claim.
local request_id, conversation, nonce, claim_ms = unpack(ARGV)
local conversation_key = P .. 'conv:' .. conversation
local MOST_ROWS = 8
local r = call('HMGET', P .. 'req:' .. request_id, 'conv', 'asked', 'answered')
if r[1] ~= conversation or not r[2] or not r[3] then return { 'FENCED', '' } end
local known = call('HMGET', conversation_key, 'title_by', 'title_claim', 'created')
if known[1] or not known[3] or (known[2] and known[2] ~= nonce) then return { 'FENCED', '' } end
if call('XLEN', conversation_key .. ':turns') > MOST_ROWS then return { 'FENCED', '' } end
if not known[2] then
  call('HSET', conversation_key, 'title_claim', nonce, 'title_until', int(now + tonumber(claim_ms)))
end
return { 'OK', r[2], r[3] }
