-- What was lent under a name and is not over. ARGV: 3 name

local kept = redis.call('GET', base .. 'l' .. ARGV[3])
if not kept then
  return false
end
local colon = string.find(kept, ':', 1, true)
if now >= tonumber(string.sub(kept, 1, colon - 1)) then
  return false
end
return string.sub(kept, colon + 1)
