-- A key of this tag, for a backup. ARGV: 3 its name behind the tag, 4 '1' if it is a text, else a hash

if ARGV[4] == '1' then
  return redis.call('GET', base .. ARGV[3])
end
return redis.call('HGETALL', base .. ARGV[3])
