-- A guarded request begins: its grant is taken, its reservation made, the attempt recorded. One round trip.
-- ARGV: 5 attempt, 6 credential, 7 intent, 8 action, 9 price in limbs ('' for none), 10 destination ('=' before it),
-- 11 the attempt as it is told when it is orphaned, 12 this node

local id, credential, intent, action = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if redis.call('EXISTS', attempt_key(id)) == 1 then
  return { 'taken' }
end
local account = account_now()
local live = live_of(account)

-- The open challenge for this intent, else the credential's newest one about a place.
local open
for i = #live, 1, -1 do
  local challenge = live[i]
  if challenge.state == 'open' and challenge.credential == credential then
    if challenge.scope == 'i:' .. intent then
      open = challenge
      break
    end
    if not open and string.sub(challenge.scope, 1, 2) == 'p:' then
      open = challenge
    end
  end
end
open = open and hash(challenge_key(open.id))

local grant
for _, challenge in ipairs(live) do
  if challenge.state == 'approved' and challenge.scope == 'i:' .. intent and challenge.credential == credential then
    grant = hash(challenge_key(challenge.id))
    if string.byte(grant.met, grant.proven + 1) == 49 then
      end_challenge(challenge.id, 'used')
      keep_live(account, live, challenge.id)
    else
      grant = nil
    end
    break
  end
end

local subject, address = nil, false
if ARGV[10] == '' then
  subject = 'i' .. intent
else
  subject = 'd' .. string.sub(ARGV[10], 2)
  address = redis.call('HGET', base .. 'd' .. owner, string.sub(ARGV[10], 2))
end
local holds = redis.call('GET', base .. 'h' .. owner .. subject)

local ledger_key = base .. 'l' .. owner
local ledger = redis.call('HGETALL', ledger_key)
-- Spans of five minutes are forgotten when their hour has left the day, hours when they have left the week.
for i = 1, #ledger, 2 do
  local tier, number = string.match(ledger[i], '^(%a)(%d+)|')
  local hour = tier == 'h' and tonumber(number) or math.floor(number / 12)
  if (hour + 1) * SPANS.h + (tier == 'h' and 7 * DAY or DAY) <= now then
    redis.call('HDEL', ledger_key, ledger[i])
  end
end
change_ledger(owner, action, now, ARGV[9], 1)

local key = attempt_key(id)
redis.call('HSET', key, 'stage', 'sending', 'account', owner, 'action', action, 'began', digits(now), 'price', ARGV[9],
  'subject', subject, 'who', ARGV[11], 'node', ARGV[12], 'proved', grant and '1' or '0')
keep(key, 7 * DAY)
redis.call('ZADD', base .. 'q', digits(now), id)

local session = redis.call('HMGET', base .. 's' .. owner .. credential, 'last', 'place', 'elevations', 'round')
return {
  'begun', redis.call('HGETALL', account_key), session, ledger, address, holds, grant and told(grant, 'approved') or false,
  open and told(open, 'open') or false,
}
