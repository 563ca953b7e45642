-- Counts of codes in spans of a window: how many were sent, and how many of these came back.

local function span_of(window)
  return math.max(math.floor(window / 12), 1)
end

local function returned_key(watch)
  return base .. 'v' .. join({ watch.scope, watch.subject })
end

-- {start, sent, verified} of each span that still counts.
local function read_returned(watch)
  local spans = {}
  for start, sent, verified in string.gmatch(redis.call('GET', returned_key(watch)) or '', '(%-?%d+):(%d+):(%d+)') do
    if now < start + span_of(watch.window) + watch.window then
      spans[#spans + 1] = { tonumber(start), tonumber(sent), tonumber(verified) }
    end
  end
  return spans
end

local function write_returned(watch, spans)
  local texts, key = {}, returned_key(watch)
  for i, known in ipairs(spans) do
    texts[i] = digits(known[1]) .. ':' .. digits(known[2]) .. ':' .. digits(known[3])
  end
  redis.call('SET', key, table.concat(texts, ' '))
  keep(key, watch.window)
end

local function span_at(at, window)
  return math.floor(at / span_of(window)) * span_of(window)
end

-- Counts one that is sent now.
local function one_more(spans, window)
  local start = span_at(now, window)
  for _, known in ipairs(spans) do
    if known[1] == start then
      known[2] = known[2] + 1
      return spans
    end
  end
  spans[#spans + 1] = { start, 1, 0 }
  return spans
end
