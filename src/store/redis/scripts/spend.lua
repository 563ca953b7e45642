-- Counts one attempt, on the challenge and on the account, before any comparing.
-- ARGV: 5 challenge, 6 credential, 7 factor

local account = account_now()
local challenge = challenge_of(ARGV[5])
if not challenge or challenge.credential ~= ARGV[6] then
  return { 'missing' }
end
local until_ms = blocked(account)
if until_ms then
  return { 'blocked', until_ms }
end
if state_of(challenge) ~= 'open' then
  return { 'closed', told(challenge) }
end
local enrolled
if challenge.pending then
  -- Nobody can guess at what is not enrolled yet: a disabled factor may be replaced.
  local pending = split(challenge.pending)
  enrolled = pending[1] == ARGV[7] and enrolled_of(pending, '') or nil
else
  enrolled = find_factor(factors_of(account), ARGV[7])
  if (enrolled and enrolled[5] == '1') or disables(account, ARGV[7]) then
    return { 'blocked', now + BLOCK_MAX_MS }
  end
end
local key = challenge_key(ARGV[5])
put(key, challenge, 'left', digits(challenge.left - 1))
count_failure(account, ARGV[7])
-- What was asked goes with the attempt: the caller is told it, and nobody after.
if ARGV[7] == WEBAUTHN and challenge.ceremony then
  redis.call('HDEL', key, 'ceremony')
end
return { 'compare', told(challenge, 'open'), enrolled or false }
