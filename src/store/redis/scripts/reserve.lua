-- One more code to a number, within its limits; answers how long it must wait, or false.
-- ARGV: 3 number, 4 at most within ten minutes, 5 at most within a day

local key = base .. 'n' .. ARGV[3]
local sends = {}
for at in string.gmatch(redis.call('GET', key) or '', '%d+') do
  if now < at + DAY then
    sends[#sends + 1] = tonumber(at)
  end
end
table.sort(sends)
local wait
for _, window in ipairs({ { 600000, tonumber(ARGV[4]) }, { DAY, tonumber(ARGV[5]) } }) do
  local ms, max, within = window[1], window[2], {}
  for _, at in ipairs(sends) do
    if now < at + ms then
      within[#within + 1] = at
    end
  end
  if #within >= max then
    -- The send whose leaving brings the count below the maximum; with a maximum of 0 there is none.
    local leaves = within[#within - max + 1]
    wait = math.max(wait or 0, leaves and leaves + ms - now or ms)
  end
end
if wait then
  return wait
end
sends[#sends + 1] = now
for i, at in ipairs(sends) do
  sends[i] = digits(at)
end
redis.call('SET', key, table.concat(sends, ' '))
keep(key, DAY)
return false
