-- Forget a conversation: end its active and held requests, then erase its requests and its turns.
-- KEYS   1 ring
-- ARGV   1 conversation  2 tenant  3 retention_s  4 conversation_ttl_s
-- ->     OK count of requests erased | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix rates lifecycle erasure
local conversation, tenant, retention_s, conversation_ttl_s = unpack(ARGV)
local retention_s, conversation_ttl_s = tonumber(retention_s), tonumber(conversation_ttl_s)
local conversation_key = P .. 'conv:' .. conversation
if call('EXISTS', conversation_key) == 0 then return { 'MISSING', '' } end
note_erasure('')
local ids = call('LRANGE', conversation_key .. ':wait', 0, -1)
local active = call('HGET', conversation_key, 'active')
if active then ids[#ids + 1] = active end
for _, id in ipairs(ids) do
  local r = read_request(id)
  if r.state and not is_over(r.state) then
    notify_owner(r)
    end_request(r, 'cancelled', 'X{"reason":"forgotten"}', retention_s, conversation_ttl_s, true)
  end
end
local erased = 0
for _, turn in ipairs(call('XRANGE', conversation_key .. ':turns', '-', '+')) do
  local id = turn[2][2]
  strike_dead(id)
  delete_idempotency_key(call('HGET', P .. 'req:' .. id, 'idem') or '', id)
  erased = erased + call('DEL', P .. 'req:' .. id)
  call('DEL', P .. 'log:' .. id, P .. 'exchange:' .. id)
  call('ZREM', P .. 'index:' .. tenant, id)
  call('ZREM', P .. 'expiry:' .. tenant, id)
  call('ZREM', P .. 'uncompacted', id)
  publish_notice(id, 'gone', '{}')
  call('SPUBLISH', P .. 'push:erased', id)
end
call('ZREM', P .. 'convs:' .. tenant, conversation)
call('DEL', conversation_key, conversation_key .. ':wait', conversation_key .. ':turns')
call('SPUBLISH', P .. 'push:conv:' .. conversation, '')
return { 'OK', erased }
