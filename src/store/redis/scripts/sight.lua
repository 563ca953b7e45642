-- A credential was seen here; the place becomes known. Nothing is written unless it says something new.
-- ARGV: 3 account, 4 credential, 5 when and whence (`<at>|<client>`), 6 where that is, 7 country ('=' before it),
-- 8 network ('=' before it)

local account_key, session_key = base .. 'a' .. ARGV[3], base .. 's' .. ARGV[3] .. ARGV[4]
local places = redis.call('HMGET', account_key, 'countries', 'asns', 'last', 'arrived')
local last = redis.call('HGET', session_key, 'last')
local function parts(last)
  local at, client = string.match(last, '^(%-?%d+)|(.*)$')
  return tonumber(at), client
end
local at, client = parts(ARGV[5])

-- Adds an item to a list; the one that became known first is forgotten when there are too many.
local function learn(text, item)
  local items = split(text or '')
  if item == '' then
    return text, true
  end
  item = string.sub(item, 2)
  for _, known in ipairs(items) do
    if known == item then
      return text, true
    end
  end
  items[#items + 1] = item
  if #items > 64 then
    table.remove(items, 1)
  end
  return join(items), false
end
local countries, knew_country = learn(places[1], ARGV[7])
local asns, knew_asn = learn(places[2], ARGV[8])
if last and knew_country and knew_asn then
  local last_at, last_client = parts(last)
  if last_client == client and at - last_at < 60000 then
    return 0
  end
end
-- When the account came to a country is kept for as long as the country is; the first country of all has no such time.
local function arrivals()
  local remembered, arrived = {}, {}
  for _, known in ipairs(split(countries)) do
    remembered[known] = true
  end
  local items = split(places[4] or '')
  items[#items + 1], items[#items + 2] = string.sub(ARGV[7], 2), string.match(ARGV[5], '^(%-?%d+)|')
  for i = 1, #items, 2 do
    if remembered[items[i]] then
      arrived[#arrived + 1], arrived[#arrived + 2] = items[i], items[i + 1]
    end
  end
  return join(arrived)
end
if not knew_country then
  redis.call('HSET', account_key, 'countries', countries)
  if places[1] and places[1] ~= '' then
    redis.call('HSET', account_key, 'arrived', arrivals())
  end
end
if not knew_asn then
  redis.call('HSET', account_key, 'asns', asns)
end
-- Requests overtake one another on the way here: the latest sighting stays the last.
if not places[3] or parts(places[3]) <= at then
  redis.call('HSET', account_key, 'last', ARGV[5], 'place', ARGV[6])
end
if not last or parts(last) <= at then
  redis.call('HSET', session_key, 'last', ARGV[5], 'place', ARGV[6])
end
keep(session_key, 30 * DAY)
return 1
