-- The account is trusted again; what was asked or given while it was not is void as well.

local account = hash(account_key)
if not account.frozen_since then
  return 0
end
set(account, 'frozen_since', nil)
set(account, 'frozen_by', nil)
void(account)
return 1
