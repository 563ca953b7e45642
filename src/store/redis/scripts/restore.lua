-- A key is replaced by what a backup says, or some fields of it.
-- ARGV: 3 its name behind the tag, 4 the text it becomes ('=' before it, '' if it is a hash), 5 what is cleared first:
-- a list of fields, or `|` and the action whose counters go, 6 list of names and values, 7 how long it is kept, in ms
-- ('' for ever)

local key = base .. ARGV[3]
if ARGV[4] ~= '' then
  redis.call('SET', key, string.sub(ARGV[4], 2))
elseif string.sub(ARGV[5], 1, 1) == '|' then
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.match(field, '^%a%-?%d+(|.*)$') == ARGV[5] then
      redis.call('HDEL', key, field)
    end
  end
else
  for _, field in ipairs(split(ARGV[5])) do
    redis.call('HDEL', key, field)
  end
end
local fields = split(ARGV[6])
for i = 1, #fields, 2 do
  redis.call('HSET', key, fields[i], fields[i + 1])
end
if ARGV[7] ~= '' then
  keep(key, math.max(tonumber(ARGV[7]), redis.call('PTTL', key) - DAY))
end
return 1
