-- The account may do nothing guarded. A second freeze leaves the first one's time and reason. ARGV: 5 by whom

freeze(hash(account_key), ARGV[5])
return 1
