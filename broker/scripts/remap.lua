-- Replace the partition map, unless another process has replaced it since it was read.
-- KEYS   1 map  2 partitions, the number that version 0.1 reads
-- ARGV   1 seen  2 map  3 partitions
-- ->     OK '' | STALE ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- The number is 0 while earlier maps are kept, because version 0.1 does not know them and must not start.
local seen, map, partitions = unpack(ARGV)
if call('GET', KEYS[1]) ~= seen then return { 'STALE', '' } end
call('SET', KEYS[1], map)
call('SET', KEYS[2], partitions)
return { 'OK', '' }
