-- Attempts whose gateway stopped are unknown from now on; each is returned once, over all gateways.
-- ARGV: 3 list of attempts

local orphans = {}
for _, id in ipairs(split(ARGV[3])) do
  local attempt = leave_sending(id, nil, 'unknown')
  if attempt then
    orphans[#orphans + 1] = attempt.who
  end
end
return orphans
