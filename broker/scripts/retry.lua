-- Put a running request aside until a time: the upstream said "later" before any output.
-- KEYS  ring
-- ARGV  1 id  2 attempt  3 delay_ms  4 reason (JSON)  5 usage (JSON)|''
-- ->    OK '' | FENCED state
-- Readers are told by an ephemeral push; who comes later finds it in the hash. Costs no crash.
local r = read(ARGV[1])
if r.state == 'delayed' and r.attempt == ARGV[2] then return { 'OK', '' } end
if r.state ~= 'running' or r.attempt ~= ARGV[2] then return { 'FENCED', r.state or 'missing' } end
local until_ms = int(now + ARGV[3])
local waiting = '{"until":' .. until_ms .. ',"reason":' .. ARGV[4] .. '}'
local key = P .. 'req:' .. r.id
call('HSET', key, 'state', 'delayed', 'reason', ARGV[4], 'waiting', waiting)
call('HINCRBY', key, 'retries', 1)
if ARGV[5] ~= '' then call('HSETNX', key, 'usage:' .. r.attempt, ARGV[5]) end
call('ZREM', P .. 'running', r.id)
call('ZADD', P .. 'delayed', until_ms, r.id)
tell(r.id, 'waiting', waiting)
return { 'OK', '' }
