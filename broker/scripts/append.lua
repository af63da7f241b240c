-- Append entries to the log of the current attempt, and publish all of them in one message.
-- KEYS   1 request  2 log
-- ARGV   1 attempt  2 first_seq  3 max_entries  4 max_output_bytes  5 channel  6.. values, one for each entry
-- ->     OK seq | DUP seq | GAP seq | FENCED state | TOO_LONG seq
-- Nothing is written unless the attempt is the current one and runs. A repeated call writes only the
-- entries that are missing, so a caller that lost the reply may send the same call again. This script is
-- the hot path: it loads no prefix and reads its arguments in place.
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
