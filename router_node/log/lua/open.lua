#!lua flags=allow-oom
-- Everything the outbox holds from before this generation is here: take appends.
-- KEYS: lease, pos. ARGV: token, generation. Returns 1, or 0 (and changes nothing) when the token is not in force.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], 'open', 1, 'fed', ARGV[2])
return 1
