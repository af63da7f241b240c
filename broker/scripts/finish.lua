-- End a running request: its last entries if any, the terminal, and everything that follows from it.
-- KEYS  ring
-- ARGV  1 id  2 attempt  3 first seq  4 keep_s  5 conv_ttl_s  6 usage (JSON)|''  7 answered (JSON)|''
--       8 called (JSON)|''  9 state  10 max bytes  11.. values, the last one the terminal
-- ->    OK seq | DUP seq | GAP seq | FENCED state | TOO_LONG seq
-- The terminal is written together with the change of state, the lease, the limits and the TTLs, so
-- no reader can see one without the others. A repeat answers DUP. What a conversation remembers of a
-- completed answer is given by the worker, which has it; of any other end it is read from the log.
local r = read(ARGV[1])
local state, first, last = ARGV[9], tonumber(ARGV[3]), tonumber(ARGV[3]) + #ARGV - 11
if r.attempt ~= ARGV[2] then return { 'FENCED', r.state or 'missing' } end
if r.state == state then return { 'DUP', r.seq } end
if r.state ~= 'running' then return { 'FENCED', r.state or 'missing' } end
if first > r.seq + 1 or last <= r.seq then return { 'GAP', r.seq } end

local bytes = 0
for seq = r.seq + 1, last - 1 do bytes = bytes + #ARGV[11 + seq - first] end
if bytes > 0 then
  bytes = bytes + tonumber(call('HGET', P .. 'req:' .. r.id, 'output_bytes'))
  if bytes > tonumber(ARGV[10]) then return { 'TOO_LONG', r.seq } end
end

if last > r.seq + 1 then drop_strangers(r) end
for seq = r.seq + 1, last - 1 do
  put(r.id, r.attempt .. '-' .. int(seq), ARGV[11 + seq - first])
  r.seq = seq
end
local key = P .. 'req:' .. r.id
if ARGV[6] ~= '' then call('HSETNX', key, 'usage:' .. r.attempt, ARGV[6]) end
if ARGV[7] ~= '' then add_answer(r, ARGV[7], state, ARGV[8]) end
over(r, state, ARGV[#ARGV], tonumber(ARGV[4]), tonumber(ARGV[5]))
return { 'OK', r.seq }
