-- Keeps on an open challenge what a passkey is asked to sign. ARGV: 5 challenge, 6 what it is, sealed

local account = account_now()
local challenge = challenge_of(ARGV[5])
if not challenge then
  return { 'missing' }
end
if state_of(challenge) ~= 'open' then
  return { 'closed', told(challenge) }
end
local until_ms = blocked(account)
if until_ms then
  return { 'blocked', until_ms }
end
put(challenge_key(ARGV[5]), challenge, 'ceremony', ARGV[6])
return { 'asked', told(challenge, 'open') }
