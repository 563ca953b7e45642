-- This node lives, or (with a word to leave behind) has gone. ARGV: 3 node, 4 word, 5 for how long, in ms

redis.call('SET', base .. 'n' .. ARGV[3], ARGV[4], 'PX', ARGV[5])
return 1
