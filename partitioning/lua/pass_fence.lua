-- A stream of a sealed partition has nothing unsettled before its fence but what lanes have spilled: note which lanes
-- those are, and take the fence away. A lane with the priority 10 takes events of every stream.
-- KEYS: lease, lanes, fences, owed, in:<p>. ARGV: token, priority, new number of partitions, group, fence's entry id.
-- Returns 1, or 0 (and changes nothing) when the token is not the lease in force. Repeating it changes nothing more.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local passed = tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or '0')
if passed < tonumber(ARGV[3]) then
  for _, label in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    local subscription, priority = string.match(label, '^(.*):(%d+)$')
    if (priority == ARGV[2] or priority == '10') and string.sub(subscription, 1, 1) ~= '_' then
      redis.call('SADD', KEYS[4], label)
    end
  end
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
end
redis.call('XACK', KEYS[5], ARGV[4], ARGV[5])
redis.call('XDEL', KEYS[5], ARGV[5])
return 1
