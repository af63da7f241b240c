-- Record what an interruption of an attempt leads to: of a function, whether it may start over, and from which state; of
-- an upstream's answer, where that goes on.
-- KEYS   1 ring
-- ARGV   1 request_id  2 attempt  3 policy|''  4 at  5 checkpoint (JSON)|''  6 attached (JSON or null)|''
-- ->     OK '' | FENCED state | GAP seq
-- NEEDS  rights prefix
-- GAP: the log does not have the entry `at`, and nothing is recorded.
-- `attempt` is the fence. `policy` replaces that of the request. `at` is the seq of the last entry that belongs to the
-- checkpoint; the policy alone is recorded without one. `attached` names an answer that an upstream keeps, so that the
-- next attempt can go on reading it, and `null` deletes the name; nothing else is recorded then. A repeated call records the same again.
-- Invariant: the log has all the output that belongs to a checkpoint. An attempt that has recorded the policy `fail` is not
-- followed by another one, even without output.
local request_id, attempt, policy, at, checkpoint, attached = unpack(ARGV)
local r = read_request(request_id)
if r.state ~= 'running' or r.attempt ~= attempt then return { 'FENCED', r.state or 'missing' } end
if checkpoint ~= '' and tonumber(at) > r.seq then return { 'GAP', r.seq } end
local request = P .. 'req:' .. r.id
if attached == 'null' then
  call('HDEL', request, 'attached')
elseif attached ~= '' then
  call('HSET', request, 'attached', attached)
elseif checkpoint ~= '' then
  call('HSET', request, 'policy', policy, 'begun', 1, 'checkpoint', checkpoint, 'checkpoint_at', attempt .. '-' .. at)
else
  call('HSET', request, 'policy', policy, 'begun', 1)
end
return { 'OK', '' }
