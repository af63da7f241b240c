-- Compare the format and the settings of a process with the agreed ones, and agree on what is missing.
-- KEYS   1 agreement
-- ARGV   1 version  2 oldest  3 reader  4 is_start (0|1)  5.. values, the name of a setting and its value, in turn
-- ->     OK values | REFUSED format_min format_max
-- FLAGS  allow-oom
-- NEEDS  rights prefix
-- The process belongs to a release that writes format `version` and reads all formats from `oldest` on; what it
-- writes can be read by releases from format `reader` on. `format_min` is the lowest version of a release that can
-- read all data, `format_max` the highest version that was written. A refused process changes nothing.
-- The reply has the agreed value of each setting before this call, or '' for none. A start replaces the agreed
-- values by its own, so the settings of a system change with a rolling restart. A later call adds what is missing, as
-- after FLUSHALL.
local version, oldest, reader, is_start = unpack(ARGV, 1, 4)
local version, oldest, reader = tonumber(version), tonumber(oldest), tonumber(reader)
local names, values = { 'format_min', 'format_max' }, {}
for i = 5, #ARGV, 2 do names[#names + 1], values[#values + 1] = ARGV[i], ARGV[i + 1] end
local agreed = call('HMGET', KEYS[1], unpack(names))

local format_min, format_max = tonumber(agreed[1] or reader), tonumber(agreed[2] or version)
if version < format_min or format_max < oldest then return { 'REFUSED', int(format_min), int(format_max) } end

local changes = { KEYS[1] }
local function agree_on(name, value) changes[#changes + 1], changes[#changes + 2] = name, value end
if not agreed[1] or reader > format_min then agree_on('format_min', int(math.max(reader, format_min))) end
if not agreed[2] or version > format_max then agree_on('format_max', int(math.max(version, format_max))) end
local before = {}
for i, value in ipairs(values) do
  before[i] = agreed[i + 2] or ''
  if before[i] == '' or (is_start == '1' and before[i] ~= value) then agree_on(names[i + 2], value) end
end
if #changes > 1 then call('HSET', unpack(changes)) end
return { 'OK', unpack(before) }
