-- Write entries of the current attempt and push them: one message for all of them.
-- KEYS  1 request hash  2 log
-- ARGV  1 attempt  2 first seq  3 max seq  4 max bytes  5 channel  6.. values, one an entry
-- ->    OK seq | DUP seq | GAP seq | FENCED state | TOO_LONG seq
-- Nothing is written unless the attempt is the current one and runs. A repeat writes only what is
-- not there yet, so after a lost reply the same call may be sent again. The hot path: no prefix.
local call = redis.call
local h = call('HMGET', KEYS[1], 'state', 'attempt', 'seq', 'output_bytes')
if h[1] ~= 'running' or h[2] ~= ARGV[1] then return { 'FENCED', h[1] or 'missing' } end
local seq, first = tonumber(h[3]), tonumber(ARGV[2])
local last = first + #ARGV - 6
if last <= seq then return { 'DUP', seq } end
if first > seq + 1 then return { 'GAP', seq } end

local bytes, message = tonumber(h[4]), { ARGV[1] .. '-' .. (seq + 1) .. '\n' }
for i = 6 + seq + 1 - first, #ARGV do
  bytes = bytes + #ARGV[i]
  message[#message + 1] = #ARGV[i] .. ':' .. ARGV[i]
end
if last > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then return { 'TOO_LONG', seq } end

for s = seq + 1, last do call('XADD', KEYS[2], ARGV[1] .. '-' .. s, 'e', ARGV[6 + s - first]) end
call('HSET', KEYS[1], 'seq', last, 'output_bytes', bytes)
call('SPUBLISH', ARGV[5], table.concat(message))
return { 'OK', last }
