-- Prolong a lease that is still ours, on the server it was taken from.
-- KEYS: lease, pos. ARGV: token, lease in ms.
-- Returns 1, or 0 when the lease is not ours, or when the server was restarted or replaced since its owner began: it may
-- have lost data, and the owner has to begin anew.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local run = redis.call('HGET', KEYS[2], 'run')
if run and run ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
