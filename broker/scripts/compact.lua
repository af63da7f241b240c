-- Replace the log of a request that is over by the segments of its compacted log.
-- KEYS   1 ring
-- ARGV   1 request_id  2 last, the id of the terminal  3 count of the segments that were read
--        4.. values, three for each new segment: id, value, parts|''
-- ->     OK '' | DUP '' | FENCED state | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- No reader sees a part of the new log, and the new log has the TTL of the old one. Without values, the log stays as
-- it is. Except after FENCED, the request is no longer listed for compaction. A repeated call finds another number of
-- segments.
local request_id, last, count = unpack(ARGV, 1, 3)
local VALUES = 4
local log = P .. 'log:' .. request_id
local h = call('HMGET', P .. 'req:' .. request_id, 'state', 'attempt', 'seq')
if h[1] and not (is_over(h[1]) and h[2] .. '-' .. h[3] == last) then return { 'FENCED', h[1] } end
call('ZREM', P .. 'uncompacted', request_id)
local ttl_ms = call('PTTL', log)
if not h[1] or ttl_ms < 0 then return { 'MISSING', '' } end
if #ARGV < VALUES or call('XLEN', log) ~= tonumber(count) then return { 'DUP', '' } end

-- An id that Redis refuses would leave a part of the log, so the ids are checked before anything is deleted.
local attempt, seq = 0, 0
for i = VALUES, #ARGV, 3 do
  local before_attempt, before_seq = attempt, seq
  attempt, seq = string.match(ARGV[i], '^(%d+)-(%d+)$')
  attempt, seq = tonumber(attempt), tonumber(seq)
  if attempt < before_attempt or (attempt == before_attempt and seq <= before_seq) then
    return redis.error_reply('ERR the ids do not grow')
  end
end

call('DEL', log)
for i = VALUES, #ARGV, 3 do
  local segment = { log, ARGV[i], 'e', ARGV[i + 1] }
  if ARGV[i + 2] ~= '' then segment[5], segment[6] = 'p', ARGV[i + 2] end
  call('XADD', unpack(segment))
end
call('PEXPIRE', log, ttl_ms)
return { 'OK', '' }
