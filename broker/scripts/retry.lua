-- Delay a running request, because the upstream asked for a later call before any output.
-- KEYS   1 ring
-- ARGV   1 request_id  2 attempt  3 delay_ms  4 reason (JSON)  5 usage (JSON)|''  6 counts (0|1)
-- ->     OK '' | FENCED state
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- A notice informs connected readers; readers that connect later find `waiting` in the request's hash. A
-- retry does not count as a crash. With `counts` it is one of the retries that a request has: no upstream was called
-- without.
local request_id, attempt, delay_ms, reason, usage, counts = unpack(ARGV)
local r = read_request(request_id)
if r.state == 'delayed' and r.attempt == attempt then return { 'OK', '' } end
if r.state ~= 'running' or r.attempt ~= attempt then return { 'FENCED', r.state or 'missing' } end
local until_ms = int(now + delay_ms)
local waiting = '{"until":' .. until_ms .. ',"reason":' .. reason .. '}'
local request = P .. 'req:' .. r.id
call('HSET', request, 'state', 'delayed', 'reason', reason, 'waiting', waiting)
call('HDEL', request, 'attached')
if counts == '1' then call('HINCRBY', request, 'retries', 1) end
if usage ~= '' then call('HSETNX', request, 'usage:' .. r.attempt, usage) end
leave_running(r)
call('ZADD', P .. 'delayed', until_ms, r.id)
publish_notice(r.id, 'waiting', waiting)
return { 'OK', '' }
