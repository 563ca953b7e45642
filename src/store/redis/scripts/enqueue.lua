-- Messages into the outbox. ARGV: 3 account, 4 challenge, 5 the code's MAC (both '' for a notice), 6 list of sealed
-- addresses and texts, 7 expires, 8 when they are due

for _, sealed in ipairs(split(ARGV[6])) do
  local id = digits(redis.call('INCR', base .. 'i'))
  local key = base .. 'o' .. id
  redis.call('HSET', key, 'account', ARGV[3], 'challenge', ARGV[4], 'mac', ARGV[5], 'sealed', sealed, 'expires', ARGV[7],
    'tries', '0')
  keep(key, ARGV[7] - now)
  redis.call('ZADD', base .. 'w', ARGV[8], string.format('%016.0f', id))
end
return 1
