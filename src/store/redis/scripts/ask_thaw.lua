-- A freeze is to end after a while, unless it was asked before. Answers when, and 1 if it was not; 0 if an operator froze
-- the account, -1 if nobody did.

local account = account_now()
if not account.frozen_since then
  return { -1 }
end
if by_operator(account.frozen_by) then
  return { 0 }
end
if account.frozen_opens then
  return { tonumber(account.frozen_opens), 0 }
end
set(account, 'frozen_opens', digits(now + THAW_DELAY_MS))
return { tonumber(account.frozen_opens), 1 }
