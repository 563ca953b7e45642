-- Takes a factor away, or puts another in its place, if what is kept of it still is what the caller read; -1 while the
-- account is frozen: its owner asks.
-- ARGV: 5 factor, 6 what it was, 7 the other one's record ('' for none)

local account = account_now()
if account.frozen_since then
  return -1
end
local record = find_factor(factors_of(account), ARGV[5])
if not record or record[2] ~= ARGV[6] then
  return 0
end
if ARGV[7] == '' then
  remove_factor(account, ARGV[5])
else
  install_factor(account, split(ARGV[7]), true)
end
return 1
