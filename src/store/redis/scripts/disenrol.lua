-- Takes a factor away. ARGV: 5 factor

return remove_factor(hash(account_key), ARGV[5]) and 1 or 0
