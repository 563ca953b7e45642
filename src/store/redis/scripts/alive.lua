-- What is known of nodes: their word each, or false. ARGV: 3 list of nodes

local words = {}
for i, node in ipairs(split(ARGV[3])) do
  words[i] = redis.call('GET', base .. 'n' .. node)
end
return words
