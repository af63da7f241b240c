-- End a request in any state: queued, held, delayed, running, or running with a dead worker.
-- KEYS   1 ring
-- ARGV   1 request_id  2 tenant  3 retention_s  4 conversation_ttl_s
-- ->     OK cancelled | TERMINAL state | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept rates lifecycle
-- This script writes the terminal instead of the worker, so when cancel returns, the request has ended.
-- The message to the worker only makes it close its upstream sooner; a worker that misses the message is
-- fenced at its next write.
local request_id, tenant, retention_s, conversation_ttl_s = unpack(ARGV)
local retention_s, conversation_ttl_s = tonumber(retention_s), tonumber(conversation_ttl_s)
local r = read_request(request_id)
if not r.state or r.tenant ~= tenant then return { 'MISSING', '' } end
if is_over(r.state) then return { 'TERMINAL', r.state } end
notify_owner(r)
end_request(r, 'cancelled', 'X{}', retention_s, conversation_ttl_s)
return { 'OK', 'cancelled' }
