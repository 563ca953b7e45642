-- Opens a challenge, or finds the one that is open for the same credential and scope.
-- ARGV: 5 id, 6 credential, 7 scope, 8 what never changes of it, 9 which sets of factors are enough ('0' or '1' for
-- each of the 64), 10 list of rule and ms of each elevation, 11 its place, 12 '1' if it only elevates, 13 expires,
-- 14 attempts, 15 the held request ('=' before it), 16 the factor that waits to be enrolled

local id = ARGV[5]
if redis.call('EXISTS', challenge_key(id)) == 1 then
  return { 'taken' }
end
local account = account_now()
local live, same = live_of(account), nil
for _, challenge in ipairs(live) do
  if challenge.credential == ARGV[6] and challenge.scope == ARGV[7] then
    same = challenge
    break
  end
end
local until_ms = blocked(account)
if same and (same.state == 'approved' or not until_ms) then
  return { 'existing', told(hash(challenge_key(same.id)), same.state) }
end
if until_ms then
  return { 'blocked', until_ms }
end

-- The oldest open ones make room; with a maximum of 0 there is none for the new one either.
local open = 0
for _, challenge in ipairs(live) do
  open = open + (challenge.state == 'open' and 1 or 0)
end
local surplus, kept = math.min(open + 1 - OPEN_MAX, open), {}
for _, challenge in ipairs(live) do
  if challenge.state == 'open' and surplus > 0 then
    end_challenge(challenge.id, 'expired')
    surplus = surplus - 1
  else
    kept[#kept + 1] = challenge
  end
end
if OPEN_MAX > 0 then
  kept[#kept + 1] = { id = id }
end
keep_live(account, kept)

local expires = math.min(tonumber(ARGV[13]), now + CHALLENGE_MS)
local new = {
  account = owner,
  credential = ARGV[6],
  scope = ARGV[7],
  json = ARGV[8],
  met = ARGV[9],
  elevates = ARGV[10],
  place = ARGV[11],
  only = ARGV[12],
  expires = digits(expires),
  left = digits(math.min(tonumber(ARGV[14]), ATTEMPTS_MAX)),
  proven = '0',
  state = OPEN_MAX > 0 and 'open' or 'expired',
  epoch = epoch,
}
if ARGV[15] ~= '' and OPEN_MAX > 0 then
  new.held = string.sub(ARGV[15], 2)
end
if ARGV[16] ~= '' and OPEN_MAX > 0 then
  new.pending = ARGV[16]
end
local flat = {}
for name, value in pairs(new) do
  flat[#flat + 1] = name
  flat[#flat + 1] = value
end
redis.call('HSET', challenge_key(id), unpack(flat))
keep(challenge_key(id), expires + GRANT_MS + DAY - now)
return { 'new', told(new) }
