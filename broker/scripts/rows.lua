-- Read rows of a conversation's turns, at least one, and no more behind `most_bytes`. Changes nothing.
-- KEYS   1 turns
-- ARGV   1 command  2 first  3 most_bytes  4 most_rows  5 is_short
-- ->     the rows, each an id and a list of fields
-- A row may have 20 MB, and a COUNT says nothing about bytes. So each row is read by itself. `command` is XRANGE, or
-- XREVRANGE for the newest rows first. With `is_short` 1, rows have the id of their request and no more.
local command, first, most_bytes, most_rows, is_short = unpack(ARGV)
local last, rows, bytes = command == 'XRANGE' and '+' or '-', {}, 0
while #rows < tonumber(most_rows) and bytes < tonumber(most_bytes) do
  local row = redis.call(command, KEYS[1], first, last, 'COUNT', 1)[1]
  if not row then break end
  first = '(' .. row[1]
  rows[#rows + 1] = is_short == '1' and { row[1], { row[2][1], row[2][2] } } or row
  for i = 2, #row[2], 2 do bytes = bytes + #row[2][i] end
end
return rows
