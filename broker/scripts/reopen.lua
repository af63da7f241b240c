-- A new attempt by the same worker: its upstream was cut after output, or Redis lost writes.
-- KEYS  ring
-- ARGV  1 id  2 attempt that ends  3 worker  4 nonce  5 lease_ms  6 can_continue  7 keep_s  8 conv_ttl_s
--       9 default model (JSON)  10 reason (JSON)
-- ->    GO attempt n opener prev | FENCED state | INTERRUPTED ''
-- Fenced by the old attempt, and safe to repeat: the nonce is new for every call that means a new one.
local r = read(ARGV[1])
local owner = ARGV[3] .. ':' .. ARGV[4]
local INTERRUPTED = 'F{"code":"interrupted","message":"The answer was cut off and may not be started again.","retryable":true}'
if r.state == 'running' and r.owner == owner then
  local h = call('HMGET', P .. 'req:' .. r.id, 'opener', 'prev')
  return { 'GO', r.attempt, tostring(r.n), h[1], h[2] }
end
if r.state == 'failed' and r.attempt == ARGV[2] then return { 'INTERRUPTED', '' } end
if r.state ~= 'running' or r.attempt ~= ARGV[2] then return { 'FENCED', r.state or 'missing' } end
r.reason = ARGV[10]
call('HSET', P .. 'req:' .. r.id, 'reason', ARGV[10])
local attempt, n, opener, prev = open(r, ARGV[6], owner, tonumber(ARGV[5]), ARGV[9])
if not attempt then
  over(r, 'failed', INTERRUPTED, tonumber(ARGV[7]), tonumber(ARGV[8]))
  return { 'INTERRUPTED', '' }
end
return { 'GO', attempt, tostring(n), opener, prev }
