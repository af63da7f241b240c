-- Append entries to the logs of current attempts, and publish all entries of a log in one message.
-- KEYS   1 request  2 log
-- ARGV   1 max_entries  2 max_output_bytes  3.. values, for each request: attempt, first_seq, channel, count of its
--        entries, and the entries
-- ->     OK seq | DUP seq | GAP seq | FENCED state | TOO_LONG seq | REFUSED error
-- Two more keys stand for each further request of the partition, and two more replies behind the first two. Each
-- request has its own verdict. REFUSED has the error of a command for one request, and the others are written.
-- Nothing is written unless the attempt is the current one and runs. A repeated call writes only the
-- entries that are missing, so a caller that lost the reply may send the same call again. This script is
-- the hot path: it loads no prefix and reads its arguments in place.
local call, ARGV = redis.call, ARGV
local max_entries, max_output_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])

-- `from` and `to` are the first and the last argument with an entry.
local function append(request, log, attempt, first, channel, from, to)
  local h = call('HMGET', request, 'state', 'attempt', 'seq', 'output_bytes')
  if h[1] ~= 'running' or h[2] ~= attempt then return 'FENCED', h[1] or 'missing' end
  local seq, last = tonumber(h[3]), first + to - from
  if last <= seq then return 'DUP', seq end
  if first > seq + 1 then return 'GAP', seq end

  local missing = from + seq + 1 - first
  local id, value = attempt .. '-' .. (seq + 1), ARGV[missing]
  local bytes, message = h[4] + #value, id .. '\n' .. #value .. ':' .. value
  if missing < to then
    local rest = { message }
    for i = missing + 1, to do
      bytes = bytes + #ARGV[i]
      rest[#rest + 1] = #ARGV[i] .. ':' .. ARGV[i]
    end
    message = table.concat(rest)
  end
  if last > max_entries or bytes > max_output_bytes then return 'TOO_LONG', seq end

  call('XADD', log, id, 'e', value)
  for i = missing + 1, to do call('XADD', log, attempt .. '-' .. (first + i - from), 'e', ARGV[i]) end
  call('HSET', request, 'seq', last, 'output_bytes', bytes)
  call('SPUBLISH', channel, message)
  return 'OK', last
end

-- An error of the only request is that of the call.
if #KEYS == 2 then return { append(KEYS[1], KEYS[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], 7, #ARGV) } end

-- A key of another type, or a foreign entry with a larger id, concerns one request. Any other error ends the script.
local function refused(failure)
  if string.match(failure, '^WRONGTYPE ') or string.match(failure, '^ERR The ') then return 'REFUSED', failure end
end

local replies, at = {}, 3
for k = 1, #KEYS, 2 do
  local attempt, first, channel, count = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local from, to = at + 4, at + 3 + count
  local has_run, word, detail = pcall(append, KEYS[k], KEYS[k + 1], attempt, first, channel, from, to)
  if not has_run then
    local failure = type(word) == 'table' and word.err or word
    word, detail = refused(failure)
    if not word then return redis.error_reply(failure) end
  end
  replies[k], replies[k + 1], at = word, detail, to + 1
end
return replies
