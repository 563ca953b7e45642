-- The oldest message that is due; nobody else gets it until the lease is over. Expired ones are dropped.
-- ARGV: 3 how long, in ms

while true do
  local id = redis.call('ZRANGEBYSCORE', base .. 'w', '-inf', digits(now), 'LIMIT', 0, 1)[1]
  if not id then
    return false
  end
  local key = base .. 'o' .. digits(id)
  local message = hash(key)
  if message.expires and now < tonumber(message.expires) then
    local tries = digits(message.tries + 1)
    redis.call('HSET', key, 'tries', tries)
    redis.call('ZADD', base .. 'w', digits(now + ARGV[3]), id)
    return { tonumber(id), message.account, message.challenge, message.mac, message.sealed, message.expires, tries }
  end
  redis.call('ZREM', base .. 'w', id)
  redis.call('DEL', key)
end
