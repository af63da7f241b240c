-- Exchange the numbers of conversations' readers between API processes.
-- KEYS   1 ring
-- ARGV   1 process  2 valid_s  3.. values, for each conversation its short key, and its readers at this process,
--        or '' if what was written of them stays
-- ->     for each conversation, its readers at other processes
-- NEEDS  rights prefix
-- A field is `<readers>:<until, s>`, and does not count when its time is over, so a killed process disappears without
-- help. Without readers, the field is removed.
-- Invariant: a key lives longer than each of its fields, which other processes may write for a longer time.
local process, valid_s = unpack(ARGV, 1, 2)
local now_s, elsewhere = math.floor(now / 1000), {}
for i = 3, #ARGV, 2 do
  local watch, readers = P .. 'watch:' .. ARGV[i], ARGV[i + 1]
  if readers == '0' then
    call('HDEL', watch, process)
  elseif readers ~= '' then
    call('HSET', watch, process, readers .. ':' .. int(now_s + valid_s))
    call('EXPIRE', watch, int(4 * valid_s + 60))
  end
  local fields, sum = call('HGETALL', watch), 0
  for j = 1, #fields, 2 do
    local count, until_s = string.match(fields[j + 1], '^(%d+):(%d+)$')
    if count and fields[j] ~= process and tonumber(until_s) > now_s then sum = sum + count end
  end
  elsewhere[#elsewhere + 1] = sum
end
return elsewhere
