-- Replaces what is kept of a factor, if it still is what the caller read. ARGV: 5 factor, 6 what it was, 7 what it is

local account = hash(account_key)
local records = factors_of(account)
local record = find_factor(records, ARGV[5])
if not record or record[2] ~= ARGV[6] then
  return 0
end
record[2] = ARGV[7]
save_factors(account, records)
return 1
