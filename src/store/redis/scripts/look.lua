-- All that is known of an account and one of its credentials. ARGV: 3 account, 4 credential

return {
  redis.call('HGETALL', base .. 'a' .. ARGV[3]),
  redis.call('HMGET', base .. 's' .. ARGV[3] .. ARGV[4], 'last', 'elevations', 'round'),
  redis.call('HLEN', base .. 'd' .. ARGV[3]),
}
