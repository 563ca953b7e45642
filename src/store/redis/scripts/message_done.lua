-- A message is finished, or tried again. ARGV: 3 message, 4 when again ('' for never)

local key, place = base .. 'o' .. ARGV[3], string.format('%016.0f', ARGV[3])
local expires = redis.call('HGET', key, 'expires')
if expires and ARGV[4] ~= '' and tonumber(ARGV[4]) < tonumber(expires) then
  redis.call('ZADD', base .. 'w', ARGV[4], place)
else
  redis.call('ZREM', base .. 'w', place)
  redis.call('DEL', key)
end
return 1
