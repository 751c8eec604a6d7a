-- Count the connections of one principal on one node among those of all nodes, if they are no more than allowed.
-- KEYS[1]  hash: node id -> "<connections> <until, ms>"
-- ARGV     node id, its connections, how many there may be on all nodes (-1: any), how long this holds (ms)
-- Returns  1 when it was counted, 0 when there would be too many.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, mine, limit, lives = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local others = 0
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local count, till = string.match(known[i + 1], '^(%d+) (%d+)$')
  if tonumber(till) < now then
    redis.call('HDEL', KEYS[1], known[i])
  elseif known[i] ~= node then
    others = others + tonumber(count)
  end
end
if limit >= 0 and others + mine > limit then
  return 0
end
if mine == 0 then
  redis.call('HDEL', KEYS[1], node)
else
  redis.call('HSET', KEYS[1], node, mine .. ' ' .. string.format('%.0f', now + lives))
  redis.call('PEXPIRE', KEYS[1], lives)
end
return 1
