-- One durable step of one lane: spill, note retries, write dead letters, remove what is done; all or nothing.
-- KEYS: lease, hw, lanes, queue, retry, dlq, outbox, due.
-- ARGV: token, lane label, new high water ('' to leave it),
--       n spilled, then n times (position "<gen> <seq> <accepted at, us>[ <id> when it had to be stored]", body),
--       n scheduled, then n times (number of the event spilled, "<priority> ", the time it is due in ms),
--       n retries, then n times (queue id, state),
--       n dead letters, then n times (header, body),
--       n removed, then n queue ids.
-- Returns {0} (and changes nothing) when the token is not the lease in force, else {1, events left in the queue,
-- {id of each event spilled...}, {"<accepted at, us> <id>" of what had to be stored and nothing here holds any more...}}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local label, at = ARGV[2], 4
local function count()
  local n = tonumber(ARGV[at])
  at = at + 1
  return n
end
local ids = {}
local spilled = count()
for _ = 1, spilled do
  ids[#ids + 1] = redis.call('XADD', KEYS[4], '*', 'p', ARGV[at], 'e', ARGV[at + 1])
  local kept = string.match(ARGV[at], '^%d+ %d+ (%d+ .+)$')
  if kept then
    redis.call('HINCRBY', KEYS[7], kept, 1)
  end
  at = at + 2
end
if spilled > 0 then
  redis.call('SADD', KEYS[3], label)
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], label, ARGV[3])
end
for _ = 1, count() do
  redis.call('ZADD', KEYS[8], ARGV[at + 2], ARGV[at + 1] .. ids[tonumber(ARGV[at])])
  at = at + 3
end
for _ = 1, count() do
  redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, count() do
  redis.call('XADD', KEYS[6], '*', 'h', ARGV[at], 'e', ARGV[at + 1])
  at = at + 2
end
local removed, released = count(), {}
local keeping = removed > 0 and redis.call('EXISTS', KEYS[7]) == 1
for i = at, at + removed - 1 do
  local entry = keeping and redis.call('XRANGE', KEYS[4], ARGV[i], ARGV[i])[1]
  local kept = entry and string.match(entry[2][2], '^%d+ %d+ (%d+ .+)$')
  if kept and redis.call('HINCRBY', KEYS[7], kept, -1) <= 0 then
    redis.call('HDEL', KEYS[7], kept)
    released[#released + 1] = kept
  end
  redis.call('XDEL', KEYS[4], ARGV[i])
  redis.call('HDEL', KEYS[5], ARGV[i])
end
local left = redis.call('XLEN', KEYS[4])
if left == 0 then
  redis.call('DEL', KEYS[4], KEYS[5])
  redis.call('SREM', KEYS[3], label)
end
return {1, left, ids, released}
