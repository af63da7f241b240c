-- Read what changes with the title or the turns of conversations. Changes nothing.
-- KEYS   1 ring
-- ARGV   1.. values, the short keys of conversations
-- ->     for each conversation, the number of its rows, and its title, active request and times, each '' if it has none
-- A row may have 20 MB, so no row is read. A request that begins or ends in a conversation changes one of the times or
-- the active request, and an erased turn changes the number of turns or of rows.
local P = string.match(KEYS[1], '^{[^}]*}:')
local states = {}
for i, conversation in ipairs(ARGV) do
  local key = P .. 'conv:' .. conversation
  local state = redis.call('HMGET', key, 'title', 'active', 'idle', 'updated', 'turns')
  for j = 1, #state do state[j] = state[j] or '' end
  table.insert(state, 1, redis.call('XLEN', key .. ':turns'))
  states[i] = state
end
return states
