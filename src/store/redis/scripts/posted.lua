-- The notes on a board: id, until and value by turns. ARGV: 3 board

local notes, flat = {}, redis.call('HGETALL', base .. 'p' .. ARGV[3])
for i = 1, #flat, 2 do
  local note = split(flat[i + 1])
  if now < tonumber(note[1]) then
    notes[#notes + 1] = flat[i]
    notes[#notes + 1] = note[1]
    notes[#notes + 1] = note[2]
  end
end
return notes
