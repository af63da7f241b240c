-- Forget a conversation: end its active and held requests, then erase its requests and its turns.
-- KEYS   1 ring
-- ARGV   1 conversation  2 tenant  3 retention_s  4 conversation_ttl_s  5 read_to  6 has_history (0|1)  7.. values, the ids of requests
-- ->     OK count of requests erased | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept rates lifecycle erasure
-- The rows of the turns may have gigabytes, so the caller has read the ids up to the row `read_to` before, in parts. Rows
-- behind that one came since.
local conversation, tenant, retention_s, conversation_ttl_s, read_to, has_history = unpack(ARGV, 1, 6)
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
local function erase_request(id)
  strike_dead(id)
  erase_kept(id, has_history)
  delete_idempotency_key(call('HGET', P .. 'req:' .. id, 'idem') or '', id)
  uncount_kept(P .. 'req:' .. id)
  uncount_kept(P .. 'exchange:' .. id)
  erased = erased + call('DEL', P .. 'req:' .. id)
  call('DEL', P .. 'log:' .. id, P .. 'exchange:' .. id)
  call('ZREM', P .. 'index:' .. tenant, id)
  call('ZREM', P .. 'expiry:' .. tenant, id)
  call('ZREM', P .. 'uncompacted', id)
  publish_notice(id, 'gone', '{}')
  call('SPUBLISH', P .. 'push:erased', id)
end
for i = 7, #ARGV do erase_request(ARGV[i]) end
local first = read_to == '' and '-' or '(' .. read_to
while true do
  local row = call('XRANGE', conversation_key .. ':turns', first, '+', 'COUNT', 1)[1]
  if not row then break end
  erase_request(row[2][2])
  first = '(' .. row[1]
end
uncount_kept(conversation_key)
call('ZREM', P .. 'convs:' .. tenant, conversation)
call('DEL', conversation_key, conversation_key .. ':wait', conversation_key .. ':turns')
call('SPUBLISH', P .. 'push:conv:' .. conversation, '')
return { 'OK', erased }
