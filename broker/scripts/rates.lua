-- Limits of what a tenant, or a user of it, may use in a time: functions that scripts share.
-- A limit is a bucket that is used up by requests and empties evenly, the whole of it in `window_ms`. So there is no
-- moment at which all of a limit comes back, and the time until a request has room is known.
-- `rates` is JSON: a list of { key, limits }, and `limits` is a list of { field, limit, window_ms, cost, input_price,
-- output_price }. KEY is the rest of a key of this partition. Of a bucket, the field has the used amount and the time of
-- its last change, as `<used>|<ms>`. The field `until` has the time at which the key expires. Prices are those of a
-- token, in units of the limit; only limits that are settled have them.

-- No request uses more tokens than this, whatever an upstream reports.
local MOST_USED = 1e9
-- A request may use more than it reserved, and more than a whole limit. A bucket holds this many limits at most, so that
-- a wrong report of an upstream ends.
local MOST_OWED = 60

-- The level of a bucket, and whether its last change is in the future, because the clock was set back since.
local function bucket_level(stored, limit, window_ms, at_ms)
  local used, since_ms = string.match(stored or '', '^(.*)|(%d+)$')
  if not used then return 0, false end
  local passed_ms = at_ms - tonumber(since_ms)
  return math.max(0, tonumber(used) - math.max(0, passed_ms) * limit / window_ms), passed_ms < 0
end

-- The levels of the buckets of a key, and at the end until when the key is kept. One command for any number of limits.
local function read_levels(name, limits, at_ms)
  local fields = {}
  for i, each in ipairs(limits) do fields[i] = each[1] end
  fields[#fields + 1] = 'until'
  local levels, is_ahead = redis.call('HMGET', name, unpack(fields)), nil
  for i, each in ipairs(limits) do
    levels[i], is_ahead = bucket_level(levels[i], each[2], each[3], at_ms)
    -- The bucket empties from now on, and not from the time that comes again.
    if is_ahead then redis.call('HSET', name, each[1], string.format('%.3f|%.0f', levels[i], at_ms)) end
  end
  return levels
end

-- A key lives for a window longer than its buckets need to empty, so that one command writes it, and its end is moved
-- once in a window.
local function write_levels(name, limits, levels, at_ms)
  local changes, longest_ms = {}, 0
  for i, each in ipairs(limits) do
    longest_ms = math.max(longest_ms, each[3], levels[i] * each[3] / each[2])
    changes[#changes + 1], changes[#changes + 2] = each[1], string.format('%.3f|%.0f', levels[i], at_ms)
  end
  local kept_ms = tonumber(levels[#limits + 1] or 0) - at_ms
  local moves_end = kept_ms < longest_ms
  if moves_end then changes[#changes + 1], changes[#changes + 2] = 'until', string.format('%.0f', at_ms + 2 * longest_ms) end
  redis.call('HSET', name, unpack(changes))
  if moves_end then redis.call('PEXPIRE', name, string.format('%.0f', 2 * longest_ms)) end
end

-- Use what the request costs, of all limits or of none. Returns whether there was room, and JSON. With room, the JSON has
-- for each limit the rest and the time in ms until the bucket is empty. Without room, it is the number of the limit without
-- room, the time in ms until there is room in all of them, and then the same list, of which the request has used nothing.
local function take_rates(tag, rates, at_ms)
  if rates == '' then return true, '' end
  local accounts, all_levels, longest_ms, full = cjson.decode(rates), {}, -1, nil
  -- Each limit and its window, and the level of its bucket before the request and with it.
  local buckets, BEFORE, WITH = {}, 3, 4
  for n, account in ipairs(accounts) do
    local limits = account[2]
    local levels = read_levels(tag .. account[1], limits, at_ms)
    for i, each in ipairs(limits) do
      local limit, window_ms, level = each[2], each[3], levels[i]
      local cost = math.min(each[4], limit)
      -- A request that costs more than the whole limit takes all of it, or it would never be let in.
      if level + cost > limit and level > 0 then
        local wait_ms = math.ceil(math.min(level, level + cost - limit) * window_ms / limit)
        if wait_ms > longest_ms then longest_ms, full = wait_ms, #buckets end
      end
      levels[i] = level + cost
      buckets[#buckets + 1] = { limit, window_ms, level, levels[i] }
    end
    all_levels[n] = levels
  end
  local function rests(which)
    local texts = {}
    for i, each in ipairs(buckets) do
      local limit, level = each[1], each[which]
      texts[i] = string.format('[%.0f,%.0f]', math.floor(math.max(0, limit - level)), math.ceil(level * each[2] / limit))
    end
    return '[' .. table.concat(texts, ',') .. ']'
  end
  if full then return false, string.format('[%d,%.0f,%s]', full, longest_ms, rests(BEFORE)) end
  for n, account in ipairs(accounts) do write_levels(tag .. account[1], account[2], all_levels[n], at_ms) end
  return true, rests(WITH)
end

local function change_levels(tag, rates, at_ms, change)
  if rates == '' then return end
  for _, account in ipairs(cjson.decode(rates)) do
    local name, limits = tag .. account[1], account[2]
    local levels = read_levels(name, limits, at_ms)
    for i, each in ipairs(limits) do
      local level = levels[i] - math.min(each[4], each[2]) + change(each)
      levels[i] = math.max(0, math.min(MOST_OWED * each[2], level))
    end
    write_levels(name, limits, levels, at_ms)
  end
end

-- Replace what a request has reserved of the limits by what it has used: the tokens of its input and of its output.
local function settle_rates(tag, rates, input, output, at_ms)
  input = math.max(0, math.min(input, MOST_USED))
  output = math.max(0, math.min(output, MOST_USED))
  change_levels(tag, rates, at_ms, function(limit) return input * limit[5] + output * limit[6] end)
end

-- Give back what a request took that was not let in.
local function return_rates(tag, rates, at_ms)
  change_levels(tag, rates, at_ms, function() return 0 end)
end
