-- Let a call of an upstream in, if the calls and the tokens of the last minute leave room for that call.
-- KEYS   1 minute  2 entered
-- ARGV   1 most_requests|''  2 most_tokens|''  3 tokens
-- ->     OK | RATE the time in ms until there is room, if no other call comes first
-- NEEDS  minute
-- `minute` has the calls (`r<slot>`) and the tokens (`t<slot>`) of each half second.
-- `entered` is of one call, so that a repeated call counts once; LEAVE_UPSTREAM puts the tokens that were used in place of
-- the `tokens` that are reserved here. A call that needs more than the whole limit gets all of it.
-- Invariant: what is counted in 60 s is never more than a limit, except by calls that used more than they reserved.
local most_requests, most_tokens, tokens = unpack(ARGV)
local most_requests, most_tokens, tokens = tonumber(most_requests), tonumber(most_tokens), tonumber(tokens)
local LONGEST_CALL_MS = 7200000
if redis.call('EXISTS', KEYS[2]) == 1 then return { 'OK' } end

local sums, by_slot, over = { r = 0, t = 0 }, { r = {}, t = {} }, {}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local kind, at = string.sub(stored[i], 1, 1), tonumber(string.sub(stored[i], 2))
  -- A slot in the future was counted before the clock was set back.
  if at < slot - SLOTS or at > slot then
    over[#over + 1] = stored[i]
  else
    sums[kind] = sums[kind] + tonumber(stored[i + 1])
    by_slot[kind][at] = tonumber(stored[i + 1])
  end
end

-- The time in ms until enough of what is counted is more than a minute ago; 0 if there is room.
local function wait_ms(kind, most, cost)
  if not most or sums[kind] == 0 then return 0 end
  local excess = sums[kind] + math.min(cost, most) - most
  if excess <= 0 then return 0 end
  for at = slot - SLOTS, slot do
    excess = excess - (by_slot[kind][at] or 0)
    if excess <= 0 then return (at + SLOTS + 1) * SLOT_MS - now_ms end
  end
  return SLOTS * SLOT_MS
end

local longest_ms = math.max(wait_ms('r', most_requests, 1), wait_ms('t', most_tokens, tokens))
if longest_ms > 0 then return { 'RATE', int(longest_ms) } end
redis.call('SET', KEYS[2], int(slot) .. '|' .. int(tokens), 'PX', int(most_tokens and LONGEST_CALL_MS or SLOTS * SLOT_MS))
redis.call('HINCRBY', KEYS[1], 'r' .. int(slot), 1)
if most_tokens and tokens > 0 then redis.call('HINCRBY', KEYS[1], 't' .. int(slot), int(tokens)) end
redis.call('PEXPIRE', KEYS[1], int((SLOTS + 2) * SLOT_MS))
if #over > 0 then redis.call('HDEL', KEYS[1], unpack(over)) end
return { 'OK' }
