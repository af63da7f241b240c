-- Whether the account in REDIS_URL may have the append-only file rewritten after erasures. Changes nothing.
-- KEYS   1 erasures
-- ARGV
-- ->     1 or 0
-- FLAGS  allow-oom
-- A call of BGREWRITEAOF would begin a rewrite, so the server is asked about the right alone.
for _, command in ipairs({ 'BGREWRITEAOF', 'INFO' }) do
  local is_known, may = pcall(redis.acl_check_cmd, command)
  if not (is_known and may) then return 0 end
end
return 1
