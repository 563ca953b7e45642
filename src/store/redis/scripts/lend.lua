-- Keeps a value for a while. ARGV: 3 name, 4 value, 5 until

redis.call('SET', base .. 'l' .. ARGV[3], ARGV[5] .. ':' .. ARGV[4])
-- Anybody with a session can have many of them: not kept for a day, as other keys are.
redis.call('PEXPIRE', base .. 'l' .. ARGV[3], digits(math.max(ARGV[5] - now, 0) + 60000))
return 1
