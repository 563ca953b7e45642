-- Hangs up a note unless there are too many, or one of this name. ARGV: 3 board, 4 id, 5 value, 6 until, 7 how many at most

local key, count = base .. 'p' .. ARGV[3], 0
local flat, over = redis.call('HGETALL', key), {}
for i = 1, #flat, 2 do
  local note = split(flat[i + 1])
  if now >= tonumber(note[1]) then
    over[#over + 1] = flat[i]
  elseif flat[i] == ARGV[4] then
    return 0
  else
    count = count + 1
  end
end
if count >= tonumber(ARGV[7]) then
  return 0
end
for _, id in ipairs(over) do
  redis.call('HDEL', key, id)
end
redis.call('HSET', key, ARGV[4], join({ ARGV[6], ARGV[5] }))
return 1
