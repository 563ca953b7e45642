-- The owner says "not me". ARGV: 5 challenge, 6 '1' to freeze the account as well

even_if_full()
local account = account_now()
local challenge = challenge_of(ARGV[5])
if not challenge then
  return false
end
local state = state_of(challenge)
if state == 'open' or state == 'approved' then
  end_challenge(ARGV[5], 'rejected')
  challenge = challenge_of(ARGV[5])
  state = 'rejected'
end
if ARGV[6] == '1' then
  freeze(account, 'owner')
end
return told(challenge, state)
