-- It will not be forwarded: the reservation is given back, holds begin. A grant that was taken stays used.
-- ARGV: 3 account, 4 attempt, 5 list of rules whose holds begin, 6 '1' if nobody heard of the beginning

local subject = redis.call('HGET', attempt_key(ARGV[4]), 'subject') or ''
local key = base .. 'h' .. ARGV[3] .. subject
-- A hold's text is a list: the round of freezes it began in, then rule and time by turns.
local freezes = redis.call('HGET', base .. 'a' .. ARGV[3], 'freezes') or '0'
local stored = split(redis.call('GET', key) or '')
local attempt = leave_sending(ARGV[4], ARGV[3], 'abandoned')
if not attempt then
  if ARGV[6] == '1' and redis.call('EXISTS', attempt_key(ARGV[4])) == 0 then
    -- The beginning may still be on its way: it finds its name taken. A full server begins nothing by itself.
    local put = redis.pcall('HSET', attempt_key(ARGV[4]), 'stage', 'abandoned')
    if type(put) == 'number' then
      keep(attempt_key(ARGV[4]), 0)
    elseif string.sub(put.err, 1, 3) ~= 'OOM' then
      return put
    end
  end
  return 0
end
give_back(attempt)
local rules = split(ARGV[5])
if #rules == 0 then
  return 1
end
-- Of a rule whose hold begins, the one before was served, and is over.
local holds, begins = { freezes }, {}
for _, rule in ipairs(rules) do
  begins[rule] = true
end
if stored[1] == freezes then
  for i = 2, #stored, 2 do
    if not begins[stored[i]] and now < stored[i + 1] + 30 * DAY then
      holds[#holds + 1] = stored[i]
      holds[#holds + 1] = stored[i + 1]
    end
  end
end
for _, rule in ipairs(rules) do
  if begins[rule] then
    holds[#holds + 1] = rule
    holds[#holds + 1] = digits(now)
    begins[rule] = nil
  end
end
redis.call('SET', key, join(holds))
keep(key, 30 * DAY)
return 1
