-- Whether a partition has work that nobody has taken, and when its next lease or delay ends. Changes nothing.
-- KEYS   1 ring  2 suspect  3 running  4 delayed  5 newer
-- ARGV   1 format  2.. values, the pools that the worker serves: names of functions, and '' for the upstream
-- ->     number of tenants with waiting requests, and of requests in `newer` up to `format`; number of suspects; ms
--        until the next end (0 now, -1 none)
-- The keys are those of the upstream. An empty partition costs one command. The `newer` of the upstream is looked at for
-- every worker, because requests of functions may be there (see claim.lua).
local call = redis.call
local keys, waiting, suspects, soonest_ms = { KEYS[3], KEYS[4], KEYS[5] }, 0, 0, -1
for i = 2, #ARGV do
  local of = ARGV[i] == '' and '' or ':' .. ARGV[i]
  keys[#keys + 1], keys[#keys + 2] = KEYS[1] .. of, KEYS[2] .. of
  if of ~= '' then keys[#keys + 1] = KEYS[5] .. of end
end
if call('EXISTS', unpack(keys)) == 0 then return { 0, 0, -1 } end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 3, 4 do
  local first = call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  local due_ms = first[2] and math.max(0, tonumber(first[2]) - now)
  if due_ms and (soonest_ms < 0 or due_ms < soonest_ms) then soonest_ms = due_ms end
end
local function count_newer(name) return #call('ZRANGEBYSCORE', name, '-inf', ARGV[1], 'LIMIT', 0, 1) end
waiting = count_newer(KEYS[5])
for i = 2, #ARGV do
  local of = ARGV[i] == '' and '' or ':' .. ARGV[i]
  waiting = waiting + call('LLEN', KEYS[1] .. of) + (of ~= '' and count_newer(KEYS[5] .. of) or 0)
  suspects = suspects + call('LLEN', KEYS[2] .. of)
end
return { waiting, suspects, soonest_ms }
