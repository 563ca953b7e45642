-- The passkey was made that a challenge waited for.
-- ARGV: 5 challenge, 6 what was kept of the account's passkeys ('=' before it), 7 the record in its place

local id = ARGV[5]
local account = account_now()
local challenge = challenge_of(id)
if not challenge then
  return { 'missing' }
end
if not answerable(id, challenge, account) then
  return { 'closed', told(challenge) }
end
local pending = split(challenge.pending)
local known = find_factor(factors_of(account), WEBAUTHN)
local was = known and '=' .. known[2] or ''
local record = split(ARGV[7])
local right = pending[1] == WEBAUTHN and record[1] == WEBAUTHN and was == ARGV[6]
return enrol_waiting(id, challenge, account, right, record)
