-- Enrols or replaces a factor. ARGV: 5 its record, 6 '1' if its owner did, who cannot while the account is frozen: -1

local account = account_now()
if ARGV[6] == '1' and account.frozen_since then
  return -1
end
install_factor(account, split(ARGV[5]), ARGV[6] == '1')
return 1
