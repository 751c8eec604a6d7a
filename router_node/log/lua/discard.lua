-- Drop a lane: its queue, its retries and its high-water mark.
-- KEYS: lease, hw, lanes, queue, retry, outbox. ARGV: token, lane label.
-- Returns {0} (and changes nothing) when the token is not the lease in force, else {1, events dropped, {"<accepted at,
-- us> <id>" of what had to be stored and nothing here holds any more...}}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local dropped, released = redis.call('XLEN', KEYS[4]), {}
if redis.call('EXISTS', KEYS[6]) == 1 then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[4], '-', '+')) do
    local kept = string.match(entry[2][2], '^%d+ %d+ (%d+ .+)$')
    if kept and redis.call('HINCRBY', KEYS[6], kept, -1) <= 0 then
      redis.call('HDEL', KEYS[6], kept)
      released[#released + 1] = kept
    end
  end
end
redis.call('DEL', KEYS[4], KEYS[5])
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
return {1, dropped, released}
