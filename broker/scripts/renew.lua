-- Renew the leases of running attempts in one partition. No other script renews a lease.
-- KEYS   1 running
-- ARGV   1 lease_ms  2.. values, a request id and the attempt that holds its lease, in turn
-- ->     OK the numbers of the refused leases, counted from 0
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- Each lease is fenced by its own attempt, so a refused one changes nothing and costs no other its renewal.
local lease_ms = unpack(ARGV, 1, 1)
local lease_ms = tonumber(lease_ms)
local lease_end_ms = int(now + lease_ms)
local refused_numbers, renewed = {}, 0
for i = 2, #ARGV, 2 do
  local id, attempt = ARGV[i], ARGV[i + 1]
  local h = call('HMGET', P .. 'req:' .. id, 'state', 'attempt')
  if h[1] == 'running' and h[2] == attempt then
    call('ZADD', KEYS[1], lease_end_ms, id)
    renewed = renewed + 1
  else
    refused_numbers[#refused_numbers + 1] = i / 2 - 1
  end
end
if renewed > 0 then note_seen(lease_ms, 0) end
return { 'OK', unpack(refused_numbers) }
