-- Takes down a note; its value, if its time was not over. ARGV: 3 board, 4 id

local key = base .. 'p' .. ARGV[3]
local note = split(redis.call('HGET', key, ARGV[4]) or '')
if not note[1] then
  return false
end
redis.call('HDEL', key, ARGV[4])
return now < tonumber(note[1]) and note[2] or false
