-- The account's open challenges, oldest first, without what they hold.

local found = {}
for _, known in ipairs(live_of(hash(account_key))) do
  if known.state == 'open' then
    local challenge = hash(challenge_key(known.id))
    challenge.held = nil
    found[#found + 1] = told(challenge, 'open')
  end
end
return found
