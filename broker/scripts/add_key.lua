-- Keep the record of a new API key.
-- KEYS   1 keys  2 key_ids  3 access
-- ARGV   1 digest  2 key_id  3 record (JSON)
-- ->     OK '' | EXISTS ''
-- NEEDS  rights prefix
-- A key id names one digest, and a digest has one record. Each change raises the version, which API processes
-- look at.
local digest, key_id, record = unpack(ARGV)
local known = call('HGET', KEYS[2], key_id)
if known == digest then return { 'OK', '' } end
if known then return { 'EXISTS', '' } end
call('HSET', KEYS[1], digest, record)
call('HSET', KEYS[2], key_id, digest)
call('HINCRBY', KEYS[3], 'version', 1)
return { 'OK', '' }
