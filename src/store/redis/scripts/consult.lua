-- What `begin` would say to a request, read and nothing else.
-- ARGV: 3 account, 4 credential, 5 intent, 6 destination ('=' before it)

local owner = ARGV[3]
local subject, address = 'i' .. ARGV[5], false
if ARGV[6] ~= '' then
  subject = 'd' .. string.sub(ARGV[6], 2)
  address = redis.call('HGET', base .. 'd' .. owner, string.sub(ARGV[6], 2))
end
return {
  redis.call('HGETALL', base .. 'a' .. owner),
  redis.call('HMGET', base .. 's' .. owner .. ARGV[4], 'last', 'place', 'elevations', 'round'),
  redis.call('HGETALL', base .. 'l' .. owner),
  address,
  redis.call('GET', base .. 'h' .. owner .. subject),
}
