-- Take a webhook that was given up off its list, to send the webhook again or to drop it.
-- KEYS   1 outbox
-- ARGV   1 request_id  2 webhook (JSON)  3 next (JSON)|''
-- ->     OK count
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- Invariant: a webhook leaves the list in the step that makes it due, and once: a repeated call finds nothing to take off.
-- The list of a request exists if and only if the request is in `given_up`.
local request_id, webhook, next = unpack(ARGV)
local list = P .. 'given_up:' .. request_id
local count = call('LREM', list, 1, webhook)
if count == 0 then return { 'OK', 0 } end
if call('LLEN', list) == 0 then call('ZREM', P .. 'given_up', request_id) end
if next ~= '' then call('ZADD', P .. 'repeats', int(now), next) end
return { 'OK', count }
