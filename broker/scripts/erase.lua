-- Erase a request that is over: prompt, log, idempotency key, place among the dead, and its turn in the conversation.
-- KEYS   1 ring
-- ARGV   1 request_id  2 tenant
-- ->     OK '' | ACTIVE state | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix erasure
local request_id, tenant = unpack(ARGV)
local request = P .. 'req:' .. request_id
local h = call('HMGET', request, 'state', 'tenant', 'idem', 'conv', 'asked', 'answered')
if not h[1] or h[2] ~= tenant then return { 'MISSING', '' } end
if not is_over(h[1]) then return { 'ACTIVE', h[1] } end
note_erasure(request_id)
strike_dead(request_id)
delete_idempotency_key(h[3], request_id)
if h[4] ~= '' then erase_turn(h[4], request_id, h[5] or '', h[6] or '') end
call('ZREM', P .. 'index:' .. tenant, request_id)
call('ZREM', P .. 'expiry:' .. tenant, request_id)
call('ZREM', P .. 'uncompacted', request_id)
call('DEL', request, P .. 'log:' .. request_id)
publish_notice(request_id, 'gone', '{}')
return { 'OK', '' }
