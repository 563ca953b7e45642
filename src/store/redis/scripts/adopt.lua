-- Keeps a value under a name unless something is there. ARGV: 3 name, 4 value

redis.call('SET', base .. 'k' .. ARGV[3], ARGV[4], 'NX')
return redis.call('GET', base .. 'k' .. ARGV[3])
