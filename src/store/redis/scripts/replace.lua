-- Takes a factor away, or puts another in its place, if what is kept of it still is what the caller read.
-- ARGV: 5 factor, 6 what it was, 7 the other one's record ('' for none)

local account = hash(account_key)
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
