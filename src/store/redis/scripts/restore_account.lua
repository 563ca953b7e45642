-- What protects an account is replaced by what a backup says. Whatever was asked of its owner or given was so in
-- another state of the account, and is void.
-- ARGV: 5 list of names and values

local account = hash(account_key)
local stays = { countries = 1, asns = 1, arrived = 1, last = 1, place = 1, live = 1, round = 1 }
void(account)
for name in pairs(account) do
  if not stays[name] then
    redis.call('HDEL', account_key, name)
  end
end
local fields = split(ARGV[5])
if #fields > 0 then
  redis.call('HSET', account_key, unpack(fields))
end
return 1
