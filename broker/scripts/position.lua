-- How many requests will be claimed before this one, the tenants taken in turn. Reads only.
-- KEYS  ring
-- ARGV  1 id  2 tenant  3 tenants looked at, at the most
-- ->    the number, or -1 when the request does not wait in line
local mine = call('LPOS', P .. 'wait:' .. ARGV[2], ARGV[1])
if not mine then return -1 end
local ahead, passed_me = mine, false
for _, tenant in ipairs(call('LRANGE', P .. 'ring', 0, ARGV[3] - 1)) do
  if tenant == ARGV[2] then
    passed_me = true
  else
    local turns_before_mine = passed_me and mine or mine + 1
    ahead = ahead + math.min(call('LLEN', P .. 'wait:' .. tenant), turns_before_mine)
  end
end
return ahead
