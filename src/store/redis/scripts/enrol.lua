-- Enrols or replaces a factor. ARGV: 5 its record, 6 '1' if its owner did

install_factor(hash(account_key), split(ARGV[5]), ARGV[6] == '1')
return 1
