-- Attempts and what they count: shared by the scripts that begin and end them.
--
-- A bucket of the ledger stands in the field `<f or h><number of the span>|<action>` and is a text of numbers: how
-- many, of these without a price, then the sum of the prices in limbs of nine digits (units, first fraction, next
-- higher, second fraction, ...). Limbs are added without carrying, which is exact for nine million prices.

local SPANS = { f = 300000, h = 3600000 }

local function attempt_key(id)
  return base .. 't' .. id
end

local function bucket_field(tier, at, action)
  return tier .. digits(math.floor(at / SPANS[tier])) .. '|' .. action
end

-- Adds one with this price to (sign 1), or takes it out of (-1), a bucket; a bucket of none is no bucket.
local function change_bucket(key, field, price, sign)
  local sums, i = {}, 2
  for number in string.gmatch(redis.call('HGET', key, field) or '0 0', '%d+') do
    sums[#sums + 1] = tonumber(number)
  end
  if sign < 0 and sums[1] == 0 then
    return
  end
  sums[1] = sums[1] + sign
  if price == '' then
    sums[2] = math.max(sums[2] + sign, 0)
  end
  for number in string.gmatch(price, '%d+') do
    i = i + 1
    sums[i] = (sums[i] or 0) + sign * number
  end
  -- What a backup put here knows nothing of those on their way, and its limbs were carried: an unknown sum is stricter.
  for n = 3, #sums do
    if sums[n] < 0 then
      sums[n], sums[2] = 0, sums[1]
    end
  end
  sums[2] = math.min(sums[2], sums[1])
  if sums[1] == 0 then
    redis.call('HDEL', key, field)
    return
  end
  for n, sum in ipairs(sums) do
    sums[n] = digits(sum)
  end
  redis.call('HSET', key, field, table.concat(sums, ' '))
end

local function change_ledger(account, action, at, price, sign)
  local key = base .. 'l' .. account
  for tier in pairs(SPANS) do
    change_bucket(key, bucket_field(tier, at, action), price, sign)
  end
  if sign > 0 then
    keep(key, 8 * DAY)
  end
end

-- Ends an attempt of `account`, or of whomever; nil if it is unknown or has ended before, which is then final. Only
-- that it was stays behind.
local function leave_sending(id, account, stage)
  local key = attempt_key(id)
  local attempt = hash(key)
  if attempt.stage ~= 'sending' or (account and attempt.account ~= account) then
    return nil
  end
  redis.call('DEL', key)
  redis.call('HSET', key, 'stage', stage)
  keep(key, 7 * DAY)
  redis.call('ZREM', base .. 'q', id)
  return attempt
end

local function give_back(attempt)
  change_ledger(attempt.account, attempt.action, tonumber(attempt.began), attempt.price, -1)
end
