-- Erase a request that is over: prompt, log, idempotency key, and what it said in its conversation.
-- KEYS  ring
-- ARGV  1 id  2 tenant
-- ->    OK '' | ACTIVE state | MISSING ''
local key = P .. 'req:' .. ARGV[1]
local h = call('HMGET', key, 'state', 'tenant', 'idem', 'conv', 'asked', 'answered')
if not h[1] or h[2] ~= ARGV[2] then return { 'MISSING', '' } end
if not is_over(h[1]) then return { 'ACTIVE', h[1] } end
delete_idempotency_key(h[3], ARGV[1])
for _, turn in ipairs({ h[5] or '', h[6] or '' }) do
  if turn ~= '' then call('XDEL', P .. 'conv:' .. h[4] .. ':turns', turn) end
end
call('ZREM', P .. 'index:' .. ARGV[2], ARGV[1])
call('ZREM', P .. 'expiry:' .. ARGV[2], ARGV[1])
call('DEL', key, P .. 'log:' .. ARGV[1])
tell(ARGV[1], 'gone', '{}')
return { 'OK', '' }
