-- Whether an account's contacts are to be told; if so the same is not said again for a while. ARGV: 3 account, 4 key,
-- 5 for how long in ms, 6 at most of its kind (the key up to a colon) within a day, 7 '1' where it was told now: then it is
-- quiet for as long as that; '0' where it was not told after all, and the claim is given back.
-- A claim has a '?' before its end: from then on it is as if it had never been.

local key = base .. 'y' .. ARGV[3]
local items = split(redis.call('GET', key))
local kept, count, known = {}, 0, false
local kind = string.match(ARGV[4], '^[^:]*')
for i = 1, #items, 3 do
  local name, at, quiet = items[i], items[i + 1], items[i + 2]
  local claimed = string.sub(quiet, 1, 1) == '?'
  local ends = tonumber(claimed and string.sub(quiet, 2) or quiet)
  local mine = claimed and name == ARGV[4]
  if mine and ARGV[7] == '0' then
    known = true
  elseif now < at + DAY and (not claimed or now < ends or (mine and ARGV[7] == '1')) then
    if mine and ARGV[7] == '1' and not known then
      known = true
      quiet = digits(now + ARGV[5])
    elseif name == ARGV[4] and ARGV[7] == '' and now < ends then
      return 0
    end
    if string.match(name, '^[^:]*') == kind then
      count = count + 1
    end
    kept[#kept + 1] = name
    kept[#kept + 1] = at
    kept[#kept + 1] = quiet
  end
end
if not known and ARGV[7] ~= '0' then
  if ARGV[7] == '' and count >= tonumber(ARGV[6]) then
    return 0
  end
  -- The newest stands first, where the second step looks for it.
  table.insert(kept, 1, (ARGV[7] == '' and '?' or '') .. digits(now + ARGV[5]))
  table.insert(kept, 1, digits(now))
  table.insert(kept, 1, ARGV[4])
end
redis.call('SET', key, join(kept))
keep(key, DAY)
return 1
