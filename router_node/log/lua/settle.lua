-- Remove settled record batches from a partition's ingest streams.
-- KEYS: lease, pos, outbox, then the stream of each entry. ARGV: token, group,
--       then per entry: id, events in it, n, then n times "<accepted at, us> <id>" of those that had to be stored.
-- Returns {0} (and changes nothing) when the token is not the lease in force, else {1, what nothing here holds any
-- more of the latter...}. Repeating it changes nothing more.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local events, answer, at = 0, {1}, 3
for i = 4, #KEYS do
  local id, count, kept = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  redis.call('XACK', KEYS[i], ARGV[2], id)
  if redis.call('XDEL', KEYS[i], id) == 1 then
    events = events + count
    for j = at + 3, at + 2 + kept do
      if redis.call('HINCRBY', KEYS[3], ARGV[j], -1) <= 0 then
        redis.call('HDEL', KEYS[3], ARGV[j])
        answer[#answer + 1] = ARGV[j]
      end
    end
  end
  at = at + 3 + kept
end
if events > 0 then
  redis.call('HINCRBY', KEYS[2], 'settled', events)
end
return answer
