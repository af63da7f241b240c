-- End a running request: its last entries if any, the terminal, and everything that follows from it.
-- KEYS  ring
-- ARGV  1 id  2 attempt  3 first seq  4 keep_s  5 conv_ttl_s  6 usage (JSON)|''  7 answered (JSON)|''
--       8 state  9 max bytes  10.. values, the last one the terminal
-- ->    OK seq | DUP seq | GAP seq | FENCED state | TOO_LONG seq
-- The terminal is written together with the change of state, the lease, the limits and the TTLs, so
-- no reader can see one without the others. A repeat answers DUP.
local r = read(ARGV[1])
local state, first, last = ARGV[8], tonumber(ARGV[3]), tonumber(ARGV[3]) + #ARGV - 10
if r.attempt ~= ARGV[2] then return { 'FENCED', r.state or 'missing' } end
if r.state == state then return { 'DUP', r.seq } end
if r.state ~= 'running' then return { 'FENCED', r.state or 'missing' } end
if first > r.seq + 1 or last <= r.seq then return { 'GAP', r.seq } end

local bytes = 0
for seq = r.seq + 1, last - 1 do bytes = bytes + #ARGV[10 + seq - first] end
if bytes > 0 then
  bytes = bytes + tonumber(call('HGET', P .. 'req:' .. r.id, 'output_bytes'))
  if bytes > tonumber(ARGV[9]) then return { 'TOO_LONG', r.seq } end
end

if last > r.seq + 1 then drop_strangers(r) end
for seq = r.seq + 1, last - 1 do
  put(r.id, r.attempt .. '-' .. int(seq), ARGV[10 + seq - first])
  r.seq = seq
end
local key = P .. 'req:' .. r.id
if ARGV[6] ~= '' then call('HSETNX', key, 'usage:' .. r.attempt, ARGV[6]) end
if r.conv ~= '' and ARGV[7] ~= '' then
  local turns = P .. 'conv:' .. r.conv .. ':turns'
  call('HSET', key, 'answered', call('XADD', turns, 'MAXLEN', '~', 400, '*', 'id', r.id, 'answered', ARGV[7]))
end
over(r, state, ARGV[#ARGV], tonumber(ARGV[4]), tonumber(ARGV[5]))
return { 'OK', r.seq }
