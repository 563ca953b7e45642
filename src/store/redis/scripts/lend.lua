-- Keeps a value for a while. ARGV: 3 name, 4 value, 5 until

redis.call('SET', base .. 'l' .. ARGV[3], ARGV[5] .. ':' .. ARGV[4])
keep(base .. 'l' .. ARGV[3], ARGV[5] - now)
return 1
