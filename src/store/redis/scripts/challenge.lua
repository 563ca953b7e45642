-- A challenge of this account. ARGV: 5 id

local challenge = challenge_of(ARGV[5])
return challenge and told(challenge) or false
