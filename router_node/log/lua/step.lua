-- One durable step of one lane: spill, note retries, write dead letters, remove what is done; all or nothing.
-- KEYS: lease, hw, lanes, queue, retry, dlq.
-- ARGV: token, lane label, new high water ('' to leave it),
--       n spilled, then n times (position "<gen> <seq> <accepted at, us>", body),
--       n retries, then n times (queue id, state),
--       n dead letters, then n times (header, body),
--       n removed, then n queue ids.
-- Returns {0} (and changes nothing) when the token is not the lease in force,
-- else {1, events left in the queue, id of each event spilled...}.
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
  at = at + 2
end
if spilled > 0 then
  redis.call('SADD', KEYS[3], label)
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], label, ARGV[3])
end
for _ = 1, count() do
  redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, count() do
  redis.call('XADD', KEYS[6], '*', 'h', ARGV[at], 'e', ARGV[at + 1])
  at = at + 2
end
local removed = count()
for i = at, at + removed - 1 do
  redis.call('XDEL', KEYS[4], ARGV[i])
  redis.call('HDEL', KEYS[5], ARGV[i])
end
local left = redis.call('XLEN', KEYS[4])
if left == 0 then
  redis.call('DEL', KEYS[4], KEYS[5])
  redis.call('SREM', KEYS[3], label)
end
local answer = {1, left}
for i = 1, #ids do
  answer[2 + i] = ids[i]
end
return answer
