-- Put a running request back at the head of the queue, because its worker drains.
-- KEYS   1 ring
-- ARGV   1 request_id  2 attempt
-- ->     OK '' | FENCED state
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept rates lifecycle
-- A release counts neither as a crash nor as a retry. The worker has reported what the attempt cost, unless it left an
-- answer that its upstream keeps. If Redis does not know of that answer, nobody reads on.
local request_id, attempt = unpack(ARGV)
local r = read_request(request_id)
if r.state == 'queued' and r.attempt == attempt then return { 'OK', '' } end
if r.state ~= 'running' or r.attempt ~= attempt then return { 'FENCED', r.state or 'missing' } end
enqueue(r.id, r.tenant, r.pool, true, true)
call('HSET', P .. 'req:' .. r.id, 'state', 'queued', 'reason', '"worker_drained"')
if not r.attached then estimate_usage(r) end
leave_running(r)
return { 'OK', '' }
