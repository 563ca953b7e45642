-- A message into the outbox. ARGV: 3 account, 4 challenge, 5 the code's MAC (both '' for a notice), 6 sealed address and text,
-- 7 expires

local id = digits(redis.call('INCR', base .. 'i'))
local key = base .. 'o' .. id
redis.call('HSET', key, 'account', ARGV[3], 'challenge', ARGV[4], 'mac', ARGV[5], 'sealed', ARGV[6], 'expires', ARGV[7],
  'tries', '0')
keep(key, ARGV[7] - now)
redis.call('ZADD', base .. 'w', digits(now), string.format('%016.0f', id))
return 1
