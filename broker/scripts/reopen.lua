-- Open a new attempt for the same worker, because its upstream broke off after output or Redis lost writes.
-- KEYS   1 ring
-- ARGV   1 request_id  2 attempt  3 worker  4 nonce  5 lease_ms  6 can_continue (0|1)  7 retention_s
--        8 conversation_ttl_s  9 default_model (JSON)  10 reason (JSON)
-- ->     GO attempt n opener prev | FENCED state | INTERRUPTED ''
-- NEEDS  rights prefix kept rates lifecycle
-- `attempt` is the one that ends, and the fence. A repeated call with the same nonce returns the same new
-- attempt; a caller that wants another attempt sends a new nonce.
local request_id, ending_attempt, worker, nonce, lease_ms, can_continue, retention_s, conversation_ttl_s,
  default_model, reason = unpack(ARGV)
local retention_s, conversation_ttl_s = tonumber(retention_s), tonumber(conversation_ttl_s)
local owner = worker .. ':' .. nonce
local r = read_request(request_id)
if r.state == 'running' and r.owner == owner then
  local h = call('HMGET', P .. 'req:' .. r.id, 'opener', 'prev')
  return { 'GO', r.attempt, tostring(r.n), h[1], h[2] }
end
if r.state == 'failed' and r.attempt == ending_attempt then return { 'INTERRUPTED', '' } end
if r.state ~= 'running' or r.attempt ~= ending_attempt then return { 'FENCED', r.state or 'missing' } end
-- An answer that its upstream keeps has ended for this worker.
r.reason, r.attached = reason, nil
call('HSET', P .. 'req:' .. r.id, 'reason', reason)
call('HDEL', P .. 'req:' .. r.id, 'attached')
local attempt, n, opener, prev = open_attempt(r, can_continue, '', owner, tonumber(lease_ms), default_model)
if not attempt then
  end_request(r, 'failed', INTERRUPTED, retention_s, conversation_ttl_s)
  return { 'INTERRUPTED', '' }
end
return { 'GO', attempt, tostring(n), opener, prev }
