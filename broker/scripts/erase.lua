-- Erase a request that is over: prompt, log, idempotency key, place among the dead, its turn in the conversation, and
-- what responses that follow it read. The last may outlive the request, and is then erased alone.
-- KEYS   1 ring
-- ARGV   1 request_id  2 tenant  3 has_history (0|1)
-- ->     OK '' | ACTIVE state | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept erasure
local request_id, tenant, has_history = unpack(ARGV)
local request = P .. 'req:' .. request_id
local h = call('HMGET', request, 'state', 'tenant', 'idem', 'conv', 'asked', 'answered')
local exchange = P .. 'exchange:' .. request_id
if not h[1] and call('HGET', exchange, 'tenant') == tenant then
  note_erasure(request_id)
  erase_kept(request_id, has_history)
  uncount_kept(exchange)
  call('DEL', exchange)
  return { 'OK', '' }
end
if not h[1] or h[2] ~= tenant then return { 'MISSING', '' } end
if not is_over(h[1]) then return { 'ACTIVE', h[1] } end
note_erasure(request_id)
strike_dead(request_id)
erase_kept(request_id, has_history)
delete_idempotency_key(h[3], request_id)
if h[4] ~= '' then erase_turn(h[4], request_id, h[5] or '', h[6] or '') end
call('ZREM', P .. 'index:' .. tenant, request_id)
call('ZREM', P .. 'expiry:' .. tenant, request_id)
call('ZREM', P .. 'uncompacted', request_id)
uncount_kept(request)
uncount_kept(exchange)
call('DEL', request, P .. 'log:' .. request_id, exchange)
publish_notice(request_id, 'gone', '{}')
return { 'OK', '' }
