-- The code was right: it is used up, failures are forgiven, and what is now complete is approved.
-- ARGV: 5 challenge, 6 factor, 7 TOTP step ('' for none), 8 the SMS or recovery code's MAC ('='
-- before it)

local TOTP = '0'
local id, factor = ARGV[5], ARGV[6]
local account = account_now()
local challenge = challenge_of(id)
if not challenge then
  return { 'missing' }
end
if not answerable(id, challenge, account) then
  return { 'closed', told(challenge) }
end
local key = challenge_key(id)
local session_key = base .. 's' .. owner .. challenge.credential
local session = hash(session_key)

if challenge.pending then
  local pending, right = split(challenge.pending), false
  if factor == TOTP then
    right = ARGV[7] ~= ''
  elseif factor == SMS then
    right = challenge.mac and ARGV[8] == '=' .. challenge.mac and now < tonumber(challenge.code_expires)
  end
  right = right and factor == pending[1]
  return enrol_waiting(id, challenge, account, right, enrolled_of(pending, ARGV[7]))
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
