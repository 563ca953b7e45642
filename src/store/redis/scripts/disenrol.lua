-- Takes a factor away. ARGV: 5 factor, 6 '1' if its owner did, who cannot while the account is frozen: -1

local account = account_now()
if ARGV[6] == '1' and account.frozen_since then
  return -1
end
return remove_factor(account, ARGV[5]) and 1 or 0
