-- Forget a conversation: end what is active or held, erase its requests and its turns.
-- KEYS  ring
-- ARGV  1 conv  2 tenant  3 keep_s  4 conv_ttl_s
-- ->    OK count of requests erased | MISSING ''
local talk = P .. 'conv:' .. ARGV[1]
if call('EXISTS', talk) == 0 then return { 'MISSING', '' } end
local ids = call('LRANGE', talk .. ':wait', 0, -1)
local active = call('HGET', talk, 'active')
if active then ids[#ids + 1] = active end
for _, id in ipairs(ids) do
  local r = read(id)
  if r.state and not is_over(r.state) then
    nudge_owner(r)
    over(r, 'cancelled', 'X{"reason":"forgotten"}', tonumber(ARGV[3]), tonumber(ARGV[4]), true)
  end
end
local erased = 0
for _, turn in ipairs(call('XRANGE', talk .. ':turns', '-', '+')) do
  local id = turn[2][2]
  delete_idempotency_key(call('HGET', P .. 'req:' .. id, 'idem') or '', id)
  erased = erased + call('DEL', P .. 'req:' .. id)
  call('DEL', P .. 'log:' .. id)
  call('ZREM', P .. 'index:' .. ARGV[2], id)
  call('ZREM', P .. 'expiry:' .. ARGV[2], id)
  tell(id, 'gone', '{}')
end
call('DEL', talk, talk .. ':wait', talk .. ':turns')
call('SPUBLISH', P .. 'push:conv:' .. ARGV[1], '')
return { 'OK', erased }
