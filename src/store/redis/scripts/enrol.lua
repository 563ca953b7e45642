-- Enrols or replaces a factor. ARGV: 5 factor, 6 its record

local account = hash(account_key)
remove_factor(account, ARGV[5])
local records = factors_of(account)
records[#records + 1] = split(ARGV[6])
save_factors(account, records)
return 1
