-- Give back to a partition what the log has lost: events that were acknowledged as stored.
-- KEYS: lease, pos, outbox, in:<p> for each of the ten priorities. ARGV: token, group,
--       then per event: priority, "<accepted at, us> <id>", body.
-- What is here still is left as it is, so repeating it changes nothing more. Returns {0} (and changes nothing) when the
-- token is not the lease in force, else {1, events fed}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local state = redis.call('HMGET', KEYS[2], 'gen', 'seq')
local seq, before = tonumber(state[2] or '0'), tonumber(state[2] or '0')
for i = 3, #ARGV, 3 do
  if redis.call('HSETNX', KEYS[3], ARGV[i + 1], 1) == 1 then
    local stream = KEYS[4 + tonumber(ARGV[i])]
    if redis.call('EXISTS', stream) == 0 then
      redis.call('XGROUP', 'CREATE', stream, ARGV[2], '0', 'MKSTREAM')
    end
    seq = seq + 1
    local at = string.match(ARGV[i + 1], '^(%d+)')
    redis.call('XADD', stream, '*', 'p', string.format('%s %.0f %s s', state[1], seq, at), 'e', ARGV[i + 2])
  end
end
redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq))
return {1, seq - before}
