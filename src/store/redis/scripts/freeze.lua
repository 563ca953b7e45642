-- The account may do nothing guarded. ARGV: 5 by whom, 6 when that was told what is to be stopped by it ('' for an order),
-- 7 the end of a freeze that was told of ('' for none). Answers 1, or when what was told was settled by a thaw since.

even_if_full()
local account = account_now()
local thawed = account.thawed
if ARGV[6] ~= '' and thawed and tonumber(ARGV[6]) < tonumber(thawed) and ARGV[7] ~= thawed then
  return tonumber(thawed)
end
freeze(account, ARGV[5])
return 1
