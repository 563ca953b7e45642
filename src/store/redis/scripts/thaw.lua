-- The account is trusted again, at once.

local account = account_now()
if not account.frozen_since then
  return 0
end
thaw(account)
return 1
