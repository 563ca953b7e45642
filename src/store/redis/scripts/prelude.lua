-- What every script begins with: is it in time, and is the state behind this tag the one we know?
--
-- KEYS[1] is the tag's marker; all other keys share its tag and are named here, from `base`.
-- ARGV[1]: store time in ms after which this must not begin (0: none). ARGV[2]: the caller's time.
-- Scripts read all they need before they write, so that an error leaves nothing half done. Lists are written as `<length>:<bytes>` one after the other, here and in Rust.

local base = string.sub(KEYS[1], 1, -2)
local now = tonumber(ARGV[2])

if ARGV[1] ~= '0' then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[1]) then
    return redis.error_reply('LATE nobody waits for this any more, nothing was done')
  end
end

-- Another replication id means: restarted, or another server was promoted. What was accepted last may be lost.
local replication = redis.call('INFO', 'replication')
if not string.find(replication, 'role:master', 1, true) then
  return redis.error_reply('READONLY this is no master any more')
end
local epoch = string.match(replication, 'master_replid:(%x+)')
local marker = redis.call('HMGET', KEYS[1], 'epoch', 'floor')
if not marker[1] then
  return redis.error_reply('LOST the state behind this tag was lost')
end
local floor = tonumber(marker[2] or -1)
if marker[1] ~= epoch then
  -- By the server's time as well: a request that came slowly, or an end that is told late, has an old time. A full
  -- server does not take it; then it is found again, until it does.
  local time = redis.call('TIME')
  floor = math.max(floor, math.floor(math.max(now, time[1] * 1000) / 30000) + 1)
  redis.pcall('HSET', KEYS[1], 'epoch', epoch, 'floor', string.format('%.0f', floor))
end

-- A full server refuses to begin writing with what needs memory, but not to go on: what makes an account stricter begins
-- with this, so that it is done all the same.
local function even_if_full()
  redis.call('DEL', base .. '-')
end

local DAY = 86400000

-- Numbers must not be written as Lua would ("1e+15").
local function digits(number)
  return string.format('%.0f', number)
end

local function join(items)
  local out = {}
  for i, item in ipairs(items) do
    out[i] = #item .. ':' .. item
  end
  return table.concat(out)
end

local function split(text)
  local items, at = {}, 1
  while text and at <= #text do
    local _, head, length = string.find(text, '^(%d+):', at)
    items[#items + 1] = string.sub(text, head + 1, head + length)
    at = head + length + 1
  end
  return items
end

local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

-- Kept a day longer than needed: what is over is judged by the caller's time, on read.
local function keep(key, ms)
  redis.call('PEXPIRE', key, digits(math.max(ms, 0) + DAY))
end
