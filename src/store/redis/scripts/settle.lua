-- It was forwarded and ended so; what the exchange accepted is learnt.
-- ARGV: 3 account, 4 attempt, 5 `done`, `refused` or `unknown`, 6 what is learnt: '' or `added`, `removed`, `used`,
-- 7 the destination it is about

local attempt = leave_sending(ARGV[4], ARGV[3], ARGV[5])
if not attempt then
  return 0
end
if ARGV[5] == 'refused' then
  give_back(attempt)
  return 1
end
if ARGV[5] ~= 'done' or ARGV[6] == '' then
  return 1
end
-- An address that is added, changed or removed begins its holds anew.
local book, destination = base .. 'd' .. ARGV[3], ARGV[7]
if ARGV[6] ~= 'used' then
  redis.call('DEL', base .. 'h' .. ARGV[3] .. 'd' .. destination)
end
if ARGV[6] == 'removed' then
  redis.call('HDEL', book, destination)
  return 1
end
-- An address is `<added> <verified> <touched>`.
local at = digits(now)
local added, verified = at, attempt.proved
if ARGV[6] == 'used' then
  local known = redis.call('HGET', book, destination)
  if known then
    local since, was = string.match(known, '^(%S+) (%d)')
    added = since
    verified = was == '1' and '1' or verified
  end
end
redis.call('HSET', book, destination, added .. ' ' .. verified .. ' ' .. at)
keep(book, 365 * DAY)
return 1
