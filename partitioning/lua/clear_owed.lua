-- Lanes of a sealed partition have settled what they had spilled before the fence.
-- KEYS: lease, owed. ARGV: token, lane labels. Returns 1, or 0 (and changes nothing) when the token is not in force.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SREM', KEYS[2], unpack(ARGV, 2))
return 1
