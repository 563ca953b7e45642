-- Attempts of this tag that are `sending`, oldest first: {id, node, began} each.

local found = {}
for _, id in ipairs(redis.call('ZRANGE', base .. 'q', 0, 999)) do
  local attempt = redis.call('HMGET', base .. 't' .. id, 'node', 'began')
  if attempt[1] then
    found[#found + 1] = { id, attempt[1], attempt[2] }
  else
    redis.call('ZREM', base .. 'q', id)
  end
end
return found
