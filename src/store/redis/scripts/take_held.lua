-- The browser's request, once its challenge is answered; nil to all who come later.
-- ARGV: 5 challenge, 6 credential

local challenge = challenge_of(ARGV[5])
if not challenge or challenge.credential ~= ARGV[6] or challenge.epoch ~= epoch then
  return false
end
local answered = challenge.state == 'approved' or challenge.state == 'used'
if not answered or now >= tonumber(challenge.expires) or not challenge.held then
  return false
end
redis.call('HDEL', challenge_key(ARGV[5]), 'held')
return challenge.held
