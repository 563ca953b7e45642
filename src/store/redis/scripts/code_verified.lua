-- A code came back: counted once wherever it was counted as sent; answers its country's prefix. ARGV: 3 the code's MAC

local key = base .. 'c' .. ARGV[3]
local counted = split(redis.call('GET', key) or '')
redis.call('DEL', key)
if not counted[2] or now >= tonumber(counted[2]) then
  return false
end
local prefix = false
for i = 3, #counted, 3 do
  local watch = { scope = counted[i], subject = counted[i + 1], window = tonumber(counted[i + 2]) }
  local spans, start = read_returned(watch), span_at(tonumber(counted[1]), tonumber(counted[i + 2]))
  for _, known in ipairs(spans) do
    if known[1] == start then
      known[3] = math.min(known[3] + 1, known[2])
      write_returned(watch, spans)
    end
  end
  if watch.scope == 'prefix' then
    prefix = prefix or watch.subject
  end
end
return prefix
