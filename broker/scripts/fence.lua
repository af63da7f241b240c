-- Refuse all submits to a partition that were routed by an older map than `epoch`.
-- KEYS   1 ring
-- ARGV   1 epoch
-- ->     OK ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- A repeated call, or one with a lower epoch, changes nothing. See docs/decisions/0029.
local epoch = unpack(ARGV)
if tonumber(epoch) > tonumber(call('GET', P .. 'epoch') or 0) then call('SET', P .. 'epoch', epoch) end
return { 'OK', '' }
