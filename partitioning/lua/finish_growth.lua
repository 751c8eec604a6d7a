-- The cluster has grown. KEYS: meta. ARGV: the new number of partitions. Returns 1; repeating it changes nothing more.
if redis.call('HGET', KEYS[1], 'target') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'partitions', ARGV[1])
  redis.call('HDEL', KEYS[1], 'target')
end
return 1
