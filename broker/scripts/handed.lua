-- Take out of an outbox what its consumer has got, and note what is sent again or given up.
-- KEYS   1 outbox
-- ARGV   1 consumer  2.. values, five for each fate: entry|''  repeat (JSON)|''  request_id|''  next (JSON)|''  due_ms|''
-- ->     OK count
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- A fate is that of an entry of the outbox, or of a webhook that was due again. With `next`, the webhook is due after
-- `due_ms`, or given up if that is empty. Several fates of one entry follow each other. Of the webhooks that were given up,
-- those of the last 10,000 requests are kept, until people send them again or drop them (send_again.lua).
-- Invariant: an entry leaves the outbox in the step that notes what follows of it, and once. A repeated call finds
-- neither entry nor repeat, and changes nothing. What was kept of a request for the history alone is deleted.
local consumer = unpack(ARGV, 1, 1)
local MOST_REPEATS, MOST_GIVEN_UP = 100000, 10000

local function field_of(entry, name)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name then return entry[2][i + 1] end
  end
end

-- The log may be kept for the history only. A reader finds it as long as there is the request.
local function release_record(id)
  if call('DEL', P .. 'record:' .. id) == 0 then return end
  local log, rest_ms = P .. 'log:' .. id, call('PTTL', P .. 'req:' .. id)
  if rest_ms < 0 then call('DEL', log)
  elseif rest_ms < call('PTTL', log) then call('PEXPIRE', log, rest_ms) end
end

local function take_out(entry)
  local found = call('XRANGE', KEYS[1], entry, entry)[1]
  if not found then return false end
  local bytes = tonumber(field_of(found, 'bytes') or 0)
  if bytes > 0 then call('HINCRBY', P .. 'outboxed', 'bytes:' .. consumer, -bytes) end
  if consumer == 'history' then release_record(field_of(found, 'id')) end
  call('XDEL', KEYS[1], entry)
  return true
end

local function give_up(id, webhook)
  call('RPUSH', P .. 'given_up:' .. id, webhook)
  call('ZADD', P .. 'given_up', int(now), id)
  call('HINCRBY', P .. 'outboxed', 'dead:' .. consumer, 1)
  local excess = call('ZCARD', P .. 'given_up') - MOST_GIVEN_UP
  if excess <= 0 then return end
  for _, oldest in ipairs(call('ZRANGE', P .. 'given_up', 0, excess - 1)) do
    call('ZREM', P .. 'given_up', oldest)
    call('DEL', P .. 'given_up:' .. oldest)
  end
end

-- Before anything is changed, because an account without this right must change nothing.
local room = MOST_REPEATS - call('ZCARD', P .. 'repeats')
local taken, count = {}, 0
for i = 2, #ARGV, 5 do
  local entry, again, id, next, due_ms = unpack(ARGV, i, i + 4)
  local is_known
  if entry == '' then is_known = call('ZREM', P .. 'repeats', again) == 1
  else
    if taken[entry] == nil then taken[entry] = take_out(entry) end
    is_known = taken[entry]
  end
  if is_known then count = count + 1 end
  if is_known and next ~= '' then
    if due_ms ~= '' and room > 0 then
      room = room - 1
      call('ZADD', P .. 'repeats', int(now + due_ms), next)
    else
      give_up(id, next)
    end
  end
end
return { 'OK', count }
