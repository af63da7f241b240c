-- Read what the responses of a chain were asked and answered, as messages, and keep that for a response that follows.
-- KEYS   1 ring
-- ARGV   1 request_id  2 tenant  3 keep_s  4 least_s  5 exchange (JSON)|''  6 after|''  7 most
-- ->     OK next values | MISSING ''
-- NEEDS  rights prefix kept
-- The chain begins at `request_id`. With `exchange`, the exchange of this request is stored if there is none, and the
-- reply begins with the request that this one is `after`. The values are exchanges, the nearest first, at most `most`.
-- `next` is the first request that is not among them, in another partition perhaps; empty at the end of the chain.
-- What would expire within `least_s` is kept for `keep_s`, so that a submit does not write all of a long chain.
-- Nothing changes if one of them is missing. A repeated call gives the same reply.
-- Invariant: a request that was erased gets no exchange, because both are found and deleted in one step.
local request_id, tenant, keep_s, least_s, exchange, after, most = unpack(ARGV)
local most = tonumber(most)
local function prefix_of(id) return string.match(id, '^r%d+_') end

local stored = call('HGET', P .. 'exchange:' .. request_id, 'tenant')
if exchange ~= '' and not stored then
  local h = call('HMGET', P .. 'req:' .. request_id, 'state', 'tenant')
  if h[2] ~= tenant or not is_over(h[1]) then return { 'MISSING', '' } end
elseif stored ~= tenant then
  return { 'MISSING', '' }
end

local texts, found, next = {}, {}, request_id
if exchange ~= '' then found[1], next = request_id, after end
while next ~= '' and #texts < most and prefix_of(next) == prefix_of(request_id) do
  local h = call('HMGET', P .. 'exchange:' .. next, 'tenant', 'exchange', 'after')
  if h[1] ~= tenant then return { 'MISSING', '' } end
  found[#found + 1], texts[#texts + 1] = next, h[2]
  next = h[3]
end

if exchange ~= '' and not stored then
  local key = P .. 'exchange:' .. request_id
  call('HSET', key, 'tenant', tenant, 'exchange', exchange, 'after', after)
  call('PEXPIRE', key, int(keep_s * 1000))
  count_kept(key, tenant, #exchange, tonumber(keep_s))
end
for _, id in ipairs(found) do
  local key = P .. 'exchange:' .. id
  if call('PTTL', key) < least_s * 1000 then
    call('PEXPIRE', key, int(keep_s * 1000))
    move_kept(key, tonumber(keep_s))
  end
end
return { 'OK', next, unpack(texts) }
