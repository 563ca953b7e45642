-- What protects an account: its challenges that live, its tally of failures, and how it loses trust.
--
-- ARGV[3]: the limits, as numbers in one text. ARGV[4]: the account, as keys spell it.

local CHALLENGE_MS, ATTEMPTS_MAX, OPEN_MAX, GRANT_MS, FAILURES_MAX, BLOCK_MS, BLOCK_MAX_MS, DISABLE_AT, SMS_CODE_MS
local FACTOR_HOLD_MS, THAW_DELAY_MS
do
  local numbers = {}
  for number in string.gmatch(ARGV[3], '%d+') do
    numbers[#numbers + 1] = tonumber(number)
  end
  CHALLENGE_MS, ATTEMPTS_MAX, OPEN_MAX, GRANT_MS, FAILURES_MAX, BLOCK_MS, BLOCK_MAX_MS, DISABLE_AT, SMS_CODE_MS,
    FACTOR_HOLD_MS, THAW_DELAY_MS = unpack(numbers)
end
local owner = ARGV[4]
local account_key = base .. 'a' .. owner
local SMS, WEBAUTHN = '1', '2'

-- Sets a field of a hash, here and there; nil takes it away.
local function put(key, fields, name, value)
  fields[name] = value
  if value then
    redis.call('HSET', key, name, value)
  else
    redis.call('HDEL', key, name)
  end
end

local function set(account, name, value)
  put(account_key, account, name, value)
end

-- Challenges.

local function challenge_key(id)
  return base .. 'c' .. id
end

-- The state at `now`. One that was opened before the last failover is void: nobody knows what became of it.
local function state_of(challenge)
  local state = challenge.state
  if state ~= 'open' and state ~= 'approved' then
    return state
  end
  if challenge.epoch ~= epoch then
    return 'expired'
  end
  if state == 'open' and tonumber(challenge.left) <= 0 then
    return 'locked'
  end
  if now >= tonumber(challenge.expires) then
    return 'expired'
  end
  return state
end

-- For the answer: all fields, and the state as readers shall see it.
local function told(challenge, state)
  local flat = {}
  for name, value in pairs(challenge) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  return { state or state_of(challenge), flat }
end

-- A challenge, if it is of this account.
local function challenge_of(id)
  local challenge = hash(challenge_key(id))
  return challenge.account == owner and challenge or nil
end

-- Challenges that are open or approved, oldest first, as far as choosing among them needs.
local function live_of(account)
  local live = {}
  for _, id in ipairs(split(account.live)) do
    local found =
      redis.call('HMGET', challenge_key(id), 'state', 'epoch', 'left', 'expires', 'credential', 'scope')
    local challenge = {
      id = id,
      state = found[1],
      epoch = found[2],
      left = found[3],
      expires = found[4],
      credential = found[5],
      scope = found[6],
    }
    local state = found[1] and state_of(challenge)
    if state == 'open' or state == 'approved' then
      live[#live + 1] = challenge
    end
  end
  return live
end

local function keep_live(account, live, without)
  local ids = {}
  for _, challenge in ipairs(live) do
    if challenge.id ~= without then
      ids[#ids + 1] = challenge.id
    end
  end
  local text = join(ids)
  set(account, 'live', text ~= '' and text or nil)
end

-- A state that is not left again, without what only a live challenge needs.
local function end_challenge(id, state)
  redis.call('HSET', challenge_key(id), 'state', state)
  redis.call('HDEL', challenge_key(id), 'held', 'mac', 'code_expires', 'masked', 'ceremony', 'pending')
end

-- Voids every open challenge, unused grant and elevation.
local function void(account)
  for _, challenge in ipairs(live_of(account)) do
    end_challenge(challenge.id, 'expired')
  end
  set(account, 'live', nil)
  set(account, 'round', digits((account.round or 0) + 1))
end

-- Whether a thaw that was asked for has come; whatever the fields still say, the account is not frozen then.
local function has_opened(account)
  return account.frozen_since and account.frozen_opens and tonumber(account.frozen_opens) <= now
end

-- What was asked or given while the account was frozen is void as well: its owner was not trusted then.
local function thaw(account)
  set(account, 'thawed', has_opened(account) and account.frozen_opens or digits(now))
  set(account, 'frozen_since', nil)
  set(account, 'frozen_by', nil)
  set(account, 'frozen_opens', nil)
  void(account)
end

-- The account as it is now, for scripts that write: before they look at a challenge, which may be void by it.
local function account_now()
  local account = hash(account_key)
  if has_opened(account) then
    thaw(account)
  end
  return account
end

local function by_operator(by)
  return string.sub(by or '', 1, 9) == 'operator:'
end

-- Frozen again: the first one's time and reason stay, except that an operator's word goes before others'. A thaw that
-- was asked for is off.
local function freeze(account, by)
  if not account.frozen_since then
    set(account, 'frozen_since', digits(now))
    set(account, 'frozen_by', by)
  elseif by_operator(by) and not by_operator(account.frozen_by) then
    set(account, 'frozen_by', by)
  end
  set(account, 'frozen_opens', nil)
  set(account, 'freezes', digits((account.freezes or 0) + 1))
  void(account)
end

-- The tally: an attempt is counted before it is compared.

local function blocked(account)
  if FAILURES_MAX == 0 then
    return now + math.max(BLOCK_MS, 1)
  end
  local until_ms = tonumber(account.blocked_until)
  if until_ms and now < until_ms then
    return until_ms
  end
end

local function disables(account, factor)
  return tonumber(account['failed' .. factor] or 0) >= DISABLE_AT
end

local function forget_failures(account, factor)
  set(account, 'failed' .. factor, nil)
end

local function count_failure(account, factor)
  local failures = (account.failures or 0) + 1
  set(account, 'failures', digits(failures))
  set(account, 'failed' .. factor, digits((account['failed' .. factor] or 0) + 1))
  if FAILURES_MAX == 0 or failures % FAILURES_MAX == 0 then
    local blocks = (account.blocks or 0) + 1
    local ms = math.min(BLOCK_MS * 2 ^ math.min(blocks - 1, 63), BLOCK_MAX_MS)
    set(account, 'blocks', digits(blocks))
    set(account, 'blocked_until', digits(now + ms))
  end
end

-- One factor of several was right: its attempt is taken back, the account's row goes on.
local function prove_part(account, factor)
  local failures = tonumber(account.failures or 0)
  if FAILURES_MAX > 0 and failures > 0 and failures % FAILURES_MAX == 0 then
    set(account, 'blocks', digits(math.max((account.blocks or 0) - 1, 0)))
    set(account, 'blocked_until', nil)
  end
  set(account, 'failures', digits(math.max(failures - 1, 0)))
  forget_failures(account, factor)
end

local function prove_all(account, factor)
  set(account, 'failures', nil)
  set(account, 'blocks', nil)
  set(account, 'blocked_until', nil)
  forget_failures(account, factor)
end

-- Enrolled factors: a list of records {factor, secret, label, since, disabled, last step, usable from, list of recovery
-- codes, language ('=' before it)}; those of earlier versions end with the step.

local function factors_of(account)
  local records = {}
  for i, text in ipairs(split(account.factors)) do
    records[i] = split(text)
  end
  return records
end

local function save_factors(account, records)
  local texts = {}
  for i, record in ipairs(records) do
    texts[i] = join(record)
  end
  set(account, 'factors', #texts > 0 and join(texts) or nil)
end

local function find_factor(records, factor)
  for i, record in ipairs(records) do
    if record[1] == factor then
      return record, i
    end
  end
end

-- Forgets a factor and its failures. If there was one, the account's security has changed.
local function remove_factor(account, factor)
  forget_failures(account, factor)
  local records = factors_of(account)
  local _, at = find_factor(records, factor)
  if at then
    table.remove(records, at)
    if factor == SMS then
      set(account, 'number_gone', digits(now))
    end
    set(account, 'security_changed', digits(now))
    void(account)
    save_factors(account, records)
  end
  return at ~= nil
end

-- Puts a factor in the place of the one of its kind; `by_owner`: its owner did.
local function install_factor(account, record, by_owner)
  if not remove_factor(account, record[1]) and by_owner then
    set(account, 'security_changed', digits(now))
    void(account)
  end
  local records = factors_of(account)
  records[#records + 1] = record
  save_factors(account, records)
end
