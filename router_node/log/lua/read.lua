-- Read entries of one ingest stream that were never read before, for the partition's owner.
-- KEYS: lease, in:<priority>. ARGV: token, group, consumer, entries at most.
-- Returns what XREADGROUP does; nil when there is nothing, or (and changes nothing) when the token is not the lease in
-- force: all owners are one consumer, so what a former one took would not be new to the present one.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return false
end
return redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[4], 'STREAMS', KEYS[2], '>')
