-- Seal the slots that a partition gives up when the cluster grows: from now on it takes appends by the new table only.
-- KEYS: lease, pos, in:<p> for each of the ten priorities. ARGV: token, new number of partitions, group.
-- Puts a fence into each stream, behind everything appended before. Returns 1, also when it was sealed before, or 0 (and
-- changes nothing) when the token is not the lease in force.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local state = redis.call('HMGET', KEYS[2], 'table', 'gen', 'seq')
if tonumber(state[1] or '0') >= tonumber(ARGV[2]) then
  return 1
end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local gen = state[2]
if not gen then
  gen = now
  redis.call('HSET', KEYS[2], 'gen', gen)
end
redis.call('HSET', KEYS[2], 'table', ARGV[2], 'fence', gen .. ' ' .. (state[3] or '0'))
for i = 3, 12 do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('XGROUP', 'CREATE', KEYS[i], ARGV[3], '0', 'MKSTREAM')
  end
  redis.call('XADD', KEYS[i], '*', 'f', ARGV[2])
end
return 1
