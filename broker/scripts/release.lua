-- Give a running request back to the head of the line: this worker drains.
-- KEYS  ring
-- ARGV  1 id  2 attempt
-- ->    OK '' | FENCED state
-- Counts neither as a crash nor as a retry.
local r = read(ARGV[1])
if r.state == 'queued' and r.attempt == ARGV[2] then return { 'OK', '' } end
if r.state ~= 'running' or r.attempt ~= ARGV[2] then return { 'FENCED', r.state or 'missing' } end
call('HSET', P .. 'req:' .. r.id, 'state', 'queued', 'reason', '"worker_drained"')
call('ZREM', P .. 'running', r.id)
enqueue(r.id, r.tenant, true, true)
return { 'OK', '' }
