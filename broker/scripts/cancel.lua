-- End a request whatever it is doing: queued, held, delayed, running, or running with a dead worker.
-- KEYS  ring
-- ARGV  1 id  2 tenant  3 keep_s  4 conv_ttl_s
-- ->    OK cancelled | TERMINAL state | MISSING ''
-- The terminal is written here and not by the worker: a cancel is true when it is answered. The
-- nudge only spares the upstream; a worker that misses it is fenced at its next write.
local r = read(ARGV[1])
if not r.state or r.tenant ~= ARGV[2] then return { 'MISSING', '' } end
if is_over(r.state) then return { 'TERMINAL', r.state } end
nudge_owner(r)
over(r, 'cancelled', 'X{}', tonumber(ARGV[3]), tonumber(ARGV[4]))
return { 'OK', 'cancelled' }
