-- Puts a code on an open challenge, or (without one) says whether one may be sent.
-- ARGV: 5 challenge, 6 the code's MAC ('=' before it, '' to ask only), 7 when it expires, 8 the number as shown

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
  return { 'limited', until_ms - now }
end
if ARGV[6] ~= '' then
  local key = challenge_key(ARGV[5])
  put(key, challenge, 'mac', string.sub(ARGV[6], 2))
  put(key, challenge, 'code_expires', ARGV[7])
  put(key, challenge, 'masked', ARGV[8])
end
return { 'queued', told(challenge, 'open') }
