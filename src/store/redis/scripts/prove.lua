-- The code was right: it is used up, failures are forgiven, and what is now complete is approved.
-- ARGV: 5 challenge, 6 factor, 7 TOTP step ('' for none), 8 the SMS or recovery code's MAC ('='
-- before it)

local TOTP, RECOVERY = '0', '4'
local id, factor = ARGV[5], ARGV[6]
local account = account_now()
local challenge = challenge_of(id)
if not challenge then
  return { 'missing' }
end
-- Not its state: the attempt that was just spent may have been the last.
if challenge.state ~= 'open' or challenge.epoch ~= epoch or now >= tonumber(challenge.expires) then
  return { 'closed', told(challenge) }
end
-- Whatever voids an account's challenges forgets them; one without attempts has no state that would show it.
local is_live = false
for _, known in ipairs(split(account.live)) do
  is_live = is_live or known == id
end
if not is_live then
  return { 'closed', told(challenge) }
end
local key = challenge_key(id)
local session_key = base .. 's' .. owner .. challenge.credential
local session = hash(session_key)

-- The factor that waited is enrolled by the answer that shows it works. Whatever else was asked or given was so in
-- another state of the account.
if challenge.pending then
  local pending = split(challenge.pending)
  if account.frozen_since then
    end_challenge(id, 'expired')
    return { 'closed', told(challenge_of(id), 'expired') }
  end
  local right = factor == pending[1]
  if factor == TOTP then
    right = right and ARGV[7] ~= ''
  elseif factor == SMS then
    right = right and challenge.mac and ARGV[8] == '=' .. challenge.mac and now < tonumber(challenge.code_expires)
  end
  if not right then
    return { 'replayed' }
  end
  prove_all(account, factor)
  local records = factors_of(account)
  if pending[5] ~= '' and not find_factor(records, RECOVERY) then
    local codes = enrolled_of(pending, '')
    codes[1], codes[2], codes[3], codes[8] = RECOVERY, '', 'recovery codes', pending[5]
    records[#records + 1] = codes
    save_factors(account, records)
  end
  install_factor(account, enrolled_of(pending, ARGV[7]), true)
  set(account, 'security_changed', digits(now))
  void(account)
  end_challenge(id, 'used')
  challenge = challenge_of(id)
  put(key, challenge, 'proven', digits(bit.bor(challenge.proven, 2 ^ factor)))
  put(key, challenge, 'expires', digits(now + GRANT_MS))
  keep(key, 2 * GRANT_MS + DAY)
  return { 'enrolled', told(challenge, 'used') }
end

if factor == TOTP then
  -- Each step counts once per account, and none before it ever again; after a failover none that may have counted.
  local records, step = factors_of(account), tonumber(ARGV[7])
  local record = find_factor(records, TOTP)
  if not record or not step or step <= (tonumber(record[6]) or -1) then
    return { 'replayed' }
  end
  if step <= floor then
    -- A right code that may have been used in what was lost: it cannot count, and is no failure either.
    put(key, challenge, 'left', digits(math.min(challenge.left + 1, ATTEMPTS_MAX)))
    prove_part(account, factor)
    return { 'replayed' }
  end
  record[6] = ARGV[7]
  save_factors(account, records)
elseif factor == SMS then
  if not challenge.mac or ARGV[8] ~= '=' .. challenge.mac or now >= tonumber(challenge.code_expires) then
    return { 'replayed' }
  end
  put(key, challenge, 'mac', nil)
  put(key, challenge, 'code_expires', nil)
  put(key, challenge, 'masked', nil)
elseif factor == RECOVERY then
  -- Each code counts once.
  local records = factors_of(account)
  local record = find_factor(records, RECOVERY)
  local codes, left = record and split(record[8]) or {}, {}
  for _, code in ipairs(codes) do
    if '=' .. code ~= ARGV[8] then
      left[#left + 1] = code
    end
  end
  if #left == #codes then
    return { 'replayed' }
  end
  record[8] = join(left)
  save_factors(account, records)
end

put(key, challenge, 'proven', digits(bit.bor(challenge.proven, 2 ^ factor)))
if string.byte(challenge.met, challenge.proven + 1) ~= 49 then
  prove_part(account, factor)
  return { 'more', told(challenge) }
end
prove_all(account, factor)

-- An elevation is {rule, factors, place, until}; those of an earlier round are void.
local round, elevations = account.round or '0', {}
local function give(elevation)
  for i, known in ipairs(elevations) do
    if known[1] == elevation[1] and known[3] == elevation[3] then
      table.remove(elevations, i)
      break
    end
  end
  elevations[#elevations + 1] = elevation
end
if (session.round or '0') == round then
  for _, text in ipairs(split(session.elevations)) do
    local known = split(text)
    if now < tonumber(known[4]) then
      elevations[#elevations + 1] = known
    end
  end
end
local given = split(challenge.elevates)
for i = 1, #given, 2 do
  give({ given[i], challenge.proven, challenge.place, digits(now + given[i + 1]) })
end
if #given > 0 then
  local texts = {}
  for i = math.max(#elevations - 63, 1), #elevations do
    texts[#texts + 1] = join(elevations[i])
  end
  put(session_key, session, 'elevations', join(texts))
  put(session_key, session, 'round', round)
  keep(session_key, 30 * DAY)
end

-- One that only elevates is used at once: there is nothing left to redeem.
if challenge.only == '1' then
  put(key, challenge, 'state', 'used')
  local ids = {}
  for _, known in ipairs(split(account.live)) do
    if known ~= id then
      ids[#ids + 1] = known
    end
  end
  set(account, 'live', #ids > 0 and join(ids) or nil)
else
  put(key, challenge, 'state', 'approved')
end
put(key, challenge, 'expires', digits(now + GRANT_MS))
put(key, challenge, 'mac', nil)
put(key, challenge, 'code_expires', nil)
put(key, challenge, 'masked', nil)
put(key, challenge, 'ceremony', nil)
keep(key, 2 * GRANT_MS + DAY)
return { 'approved', told(challenge, challenge.state) }
