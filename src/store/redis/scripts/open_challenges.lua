-- The account's open challenges, oldest first, without what they hold.

local found, account = {}, hash(account_key)
if has_opened(account) then
  return found
end
for _, known in ipairs(live_of(account)) do
  if known.state == 'open' then
    local challenge = hash(challenge_key(known.id))
    challenge.held = nil
    found[#found + 1] = told(challenge, 'open')
  end
end
return found
