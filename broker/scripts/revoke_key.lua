-- Forget an API key, and revoke the tickets that were issued with it.
-- KEYS   1 keys  2 key_ids  3 key_uses  4 access  5 revoked
-- ARGV   1 key_id  2 member  3 until_ms
-- ->     OK '' | MISSING ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- `member` is in `revoked` until no ticket of the key can be valid.
local key_id, member, until_ms = unpack(ARGV)
local digest = call('HGET', KEYS[2], key_id)
if not digest then return { 'MISSING', '' } end
call('ZADD', KEYS[5], until_ms, member)
call('HDEL', KEYS[1], digest)
call('HDEL', KEYS[3], key_id)
call('HDEL', KEYS[2], key_id)
call('HINCRBY', KEYS[4], 'version', 1)
return { 'OK', '' }
