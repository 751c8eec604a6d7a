-- Have the cluster grow. KEYS: meta. ARGV: present number of partitions, as the caller knows it, and the new one.
-- Returns {1, from, to} when it grows to that number now, or did already; {0, from, to} when something else is under way.
local from = tonumber(redis.call('HGET', KEYS[1], 'partitions') or ARGV[1])
local to = tonumber(redis.call('HGET', KEYS[1], 'target') or '0')
if to == 0 and tonumber(ARGV[2]) > from then
  to = tonumber(ARGV[2])
  local steps = redis.call('HGET', KEYS[1], 'steps')
  redis.call('HSET', KEYS[1], 'partitions', from, 'target', to, 'steps', (steps and steps .. ',' or '') .. from .. '>' .. to)
end
return {to == tonumber(ARGV[2]) and 1 or 0, from, to}
