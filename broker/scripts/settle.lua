-- Settle what requests of another partition have used of the limits that are counted in this one.
-- KEYS   1 settled
-- ARGV   1 source  2.. values, of each request in the order of `unsettled` at the source: the id there, rates (JSON),
--        the tokens of its input and of its output
-- ->     OK the number of requests that were settled
-- FLAGS  allow-oom
-- NEEDS  rates
-- Invariant: each request is settled once. The hash has, for each source, the id of the last one that was settled, and
-- ids grow. So a repeated call changes nothing, and of several workers with the same requests one settles each.
local source = unpack(ARGV, 1, 1)
local tag = string.match(KEYS[1], '^{[^}]*}:')
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function parts_of(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local last, count = redis.call('HGET', KEYS[1], source) or '0-0', 0
local last_ms, last_seq = parts_of(last)
for i = 2, #ARGV, 4 do
  local ms, seq = parts_of(ARGV[i])
  if ms > last_ms or (ms == last_ms and seq > last_seq) then
    settle_rates(tag, ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), now_ms)
    last, last_ms, last_seq, count = ARGV[i], ms, seq, count + 1
  end
end
if count > 0 then redis.call('HSET', KEYS[1], source, last) end
return { 'OK', count }
