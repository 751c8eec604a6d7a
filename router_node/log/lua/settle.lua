-- Remove settled record batches from a partition's ingest streams.
-- KEYS: lease, pos, then the stream of each entry. ARGV: token, group, then per entry: id, events in it.
-- Returns 1, or 0 (and changes nothing) when the token is not the lease in force. Repeating it changes nothing more.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local events = 0
for i = 3, #KEYS do
  local at = 3 + (i - 3) * 2
  redis.call('XACK', KEYS[i], ARGV[2], ARGV[at])
  if redis.call('XDEL', KEYS[i], ARGV[at]) == 1 then
    events = events + tonumber(ARGV[at + 1])
  end
end
if events > 0 then
  redis.call('HINCRBY', KEYS[2], 'settled', events)
end
return 1
