-- Let one process hand on what a consumer of this partition has not got, and return the oldest of that.
-- KEYS   1 outbox
-- ARGV   1 consumer  2 owner  3 lease_ms  4 most
-- ->     OK requests due | EMPTY '' | TAKEN ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- Invariant: one owner at a time has the right to collect for a consumer, until the lease of its last call ends. So a
-- process that dies is replaced, and requests are handed on in the order of their ends. An owner that was paused for
-- longer may hand on what another one does, so receivers know a request by its id.
-- `requests` are entries of the outbox. Of `webhooks`, `due` are those that are sent again, and of the history the
-- requests that were erased. A repeated call returns the same.
local consumer, owner, lease_ms, most = unpack(ARGV)
local beside = consumer == 'webhooks' and P .. 'repeats' or P .. 'erased'
if call('EXISTS', KEYS[1], beside) == 0 then return { 'EMPTY', '' } end
local field = 'owner:' .. consumer
local until_ms, name = string.match(call('HGET', P .. 'outboxed', field) or '', '^(%d+)|(.*)$')
-- A clock that was set back makes an end that is too late.
local is_held = until_ms and tonumber(until_ms) > now and tonumber(until_ms) <= now + lease_ms
if is_held and name ~= owner then return { 'TAKEN', '' } end
call('HSET', P .. 'outboxed', field, int(now + lease_ms) .. '|' .. owner)
local requests = call('XRANGE', KEYS[1], '-', '+', 'COUNT', most)
local due = call('ZRANGEBYSCORE', beside, '-inf', int(now), 'LIMIT', 0, most)
return { 'OK', requests, due }
