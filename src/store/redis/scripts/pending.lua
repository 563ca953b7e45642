-- A factor that waits to be enrolled: {factor, secret, label, language ('=' before it), list of recovery codes}.

local RECOVERY = '4'

-- What a challenge's answer is compared with, and what is enrolled if it is right: as records of factors are.
local function enrolled_of(pending, step)
  return {
    pending[1], pending[2], pending[3], digits(now), '0', step, digits(now + FACTOR_HOLD_MS), '', pending[4],
  }
end

-- Whether an answer may still end it.
local function answerable(id, challenge, account)
  -- Not by its state: the attempt that was just spent may have been the last.
  if challenge.state ~= 'open' or challenge.epoch ~= epoch or now >= tonumber(challenge.expires) then
    return false
  end
  -- Whatever voids an account's challenges forgets them; one without attempts has no state that would show it.
  for _, known in ipairs(split(account.live)) do
    if known == id then
      return true
    end
  end
  return false
end

-- The factor that waited is enrolled by the answer that shows it works. Whatever else was asked or given was so in
-- another state of the account.
local function enrol_waiting(id, challenge, account, right, record)
  if account.frozen_since then
    end_challenge(id, 'expired')
    return { 'closed', told(challenge_of(id), 'expired') }
  end
  if not right then
    return { 'replayed' }
  end
  local pending, records = split(challenge.pending), factors_of(account)
  prove_all(account, record[1])
  if pending[5] ~= '' and not find_factor(records, RECOVERY) then
    local codes = enrolled_of(pending, '')
    codes[1], codes[2], codes[3], codes[8] = RECOVERY, '', 'recovery codes', pending[5]
    records[#records + 1] = codes
    save_factors(account, records)
  end
  install_factor(account, record, true)
  set(account, 'security_changed', digits(now))
  void(account)
  end_challenge(id, 'used')
  local key, used = challenge_key(id), challenge_of(id)
  put(key, used, 'proven', digits(bit.bor(used.proven, 2 ^ record[1])))
  put(key, used, 'expires', digits(now + GRANT_MS))
  keep(key, 2 * GRANT_MS + DAY)
  return { 'enrolled', told(used, 'used') }
end
