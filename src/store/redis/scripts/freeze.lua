-- The account may do nothing guarded. A second freeze leaves the first one's time and reason. ARGV: 5 by whom

local account = hash(account_key)
even_if_full()
freeze(account, ARGV[5])
return 1
