-- One more text message to a number, within its limits and every budget; answers false, or why not and for how long.
-- ARGV: 3 number, 4 at most within ten minutes, 5 at most within a day, 6 budgets (scope, subject, window, maximum by
-- turns), 7 whose codes have to come back (scope, subject, window, settled after, sent at least, percent at least, how
-- long to stop by turns), 8 the code's MAC ('' for a notice, which is watched nowhere), 9 what must not be stopped

local key = base .. 'n' .. ARGV[3]
local sends = {}
for at in string.gmatch(redis.call('GET', key) or '', '%d+') do
  if now < at + DAY then
    sends[#sends + 1] = tonumber(at)
  end
end
table.sort(sends)
local wait
for _, window in ipairs({ { 600000, tonumber(ARGV[4]) }, { DAY, tonumber(ARGV[5]) } }) do
  local ms, max, within = window[1], window[2], {}
  for _, at in ipairs(sends) do
    if now < at + ms then
      within[#within + 1] = at
    end
  end
  if #within >= max then
    -- The send whose leaving brings the count below the maximum; with a maximum of 0 there is none.
    local leaves = within[#within - max + 1]
    wait = math.max(wait or 0, leaves and leaves + ms - now or ms)
  end
end
if wait then
  return { 'number', wait }
end

local watches, items = {}, split(ARGV[7])
for i = 1, #items, 7 do
  watches[#watches + 1] = {
    scope = items[i], subject = items[i + 1], window = tonumber(items[i + 2]), settle = tonumber(items[i + 3]),
    least = tonumber(items[i + 4]), percent = tonumber(items[i + 5]), stop = tonumber(items[i + 6]),
  }
end
for i, watch in ipairs(watches) do
  local stop = split(redis.call('HGET', base .. 'x', watch.subject) or '')
  if stop[2] and now < tonumber(stop[2]) then
    return { 'stopped', i, stop[2] - now }
  end
end
for i, subject in ipairs(split(ARGV[9])) do
  local stop = split(redis.call('HGET', base .. 'x', subject) or '')
  if stop[2] and now < tonumber(stop[2]) then
    return { 'stopped', i, stop[2] - now }
  end
end
for i, watch in ipairs(watches) do
  local sent, verified = 0, 0
  watch.spans = read_returned(watch)
  for _, known in ipairs(watch.spans) do
    local ends = known[1] + span_of(watch.window)
    if ends + watch.settle <= now then
      sent, verified = sent + known[2], verified + known[3]
    end
  end
  if sent >= watch.least and sent * watch.percent > verified * 100 then
    -- What led to a stop is forgotten, so that it is not the reason for the next.
    redis.call('DEL', returned_key(watch))
    local flat = redis.call('HGETALL', base .. 'x')
    for n = 1, #flat, 2 do
      if now >= tonumber(split(flat[n + 1])[2]) then
        redis.call('HDEL', base .. 'x', flat[n])
      end
    end
    redis.call('HSET', base .. 'x', watch.subject, join({ watch.scope, digits(now + watch.stop) }))
    return { 'stopping', i, watch.stop, sent, verified }
  end
end

local meters = {}
items = split(ARGV[6])
for i = 1, #items, 4 do
  local window, max = tonumber(items[i + 2]), tonumber(items[i + 3])
  local meter = { key = base .. 'b' .. join({ items[i], items[i + 2], items[i + 1] }), window = window, spans = {} }
  local left = 0
  for start, count in string.gmatch(redis.call('GET', meter.key) or '', '(%-?%d+):(%d+)') do
    if now < start + span_of(window) + window then
      meter.spans[#meter.spans + 1] = { tonumber(start), tonumber(count) }
      left = left + count
    end
  end
  table.sort(meter.spans, function(a, b)
    return a[1] < b[1]
  end)
  if left >= max then
    for _, known in ipairs(meter.spans) do
      left = left - known[2]
      if left < max then
        return { 'spent', #meters + 1, known[1] + span_of(window) + window - now }
      end
    end
    return { 'spent', #meters + 1, window }
  end
  meters[#meters + 1] = meter
end

sends[#sends + 1] = now
for i, at in ipairs(sends) do
  sends[i] = digits(at)
end
redis.call('SET', key, table.concat(sends, ' '))
keep(key, DAY)
for _, meter in ipairs(meters) do
  local texts = {}
  for i, known in ipairs(one_more(meter.spans, meter.window)) do
    texts[i] = digits(known[1]) .. ':' .. digits(known[2])
  end
  redis.call('SET', meter.key, table.concat(texts, ' '))
  keep(meter.key, meter.window)
end
local counted, settle = { digits(now) }, 0
for _, watch in ipairs(watches) do
  write_returned(watch, one_more(watch.spans, watch.window))
  counted[#counted + 1] = watch.scope
  counted[#counted + 1] = watch.subject
  counted[#counted + 1] = digits(watch.window)
  settle = math.max(settle, watch.settle)
end
if settle > 0 then
  table.insert(counted, 2, digits(now + settle))
  redis.call('SET', base .. 'c' .. ARGV[8], join(counted))
  keep(base .. 'c' .. ARGV[8], settle)
end
return false
