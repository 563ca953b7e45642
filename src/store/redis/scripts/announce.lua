-- Tells every gateway. ARGV: 3 channel, 4 message

return redis.call('PUBLISH', ARGV[3], ARGV[4])
