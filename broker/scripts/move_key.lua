-- Keep an API key under another digest: that of the same key with the current secret of the server.
-- KEYS   1 keys  2 key_ids
-- ARGV   1 key_id  2 earlier  3 digest
-- ->     OK '' | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- A key id names one digest, and a digest has one record. No process has to look at this change: those that know
-- the key go on with what they know.
local key_id, earlier, digest = unpack(ARGV)
local known = call('HGET', KEYS[2], key_id)
if known == digest then return { 'OK', '' } end
local record = call('HGET', KEYS[1], earlier)
if known ~= earlier or not record then return { 'MISSING', '' } end
call('HSET', KEYS[1], digest, record)
call('HSET', KEYS[2], key_id, digest)
call('HDEL', KEYS[1], earlier)
return { 'OK', '' }
