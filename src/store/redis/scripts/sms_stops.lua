-- What nothing is sent to at present: subject and {scope, until} by turns. ARGV: 3 whom to let go on ('' for nobody)

if ARGV[3] ~= '' then
  local stop = split(redis.call('HGET', base .. 'x', ARGV[3]) or '')
  redis.call('HDEL', base .. 'x', ARGV[3])
  return stop[2] and now < tonumber(stop[2]) and 1 or 0
end
local stops, flat = {}, redis.call('HGETALL', base .. 'x')
for i = 1, #flat, 2 do
  local stop = split(flat[i + 1])
  if now < tonumber(stop[2]) and #stops < 256 * 3 then
    stops[#stops + 1] = flat[i]
    stops[#stops + 1] = stop[1]
    stops[#stops + 1] = stop[2]
  end
end
return stops
