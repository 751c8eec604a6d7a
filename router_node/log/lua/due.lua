-- Move scheduled events whose time has come to their ingest streams, for the partition's owner.
-- KEYS: lease, pos, lanes, due, in:<p> for each of the ten priorities, q:_schedule:<p> for each.
-- ARGV: token, group, events at most, lane label without its priority.
-- Returns {0} (and changes nothing) when the token is not the lease in force, else {1, time in ms at which the next is due
-- ('' when none is left), the priority of each event moved...}. Events keep their time of acceptance and get new numbers.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local state = redis.call('HMGET', KEYS[2], 'gen', 'seq')
local seq, answer = tonumber(state[2] or '0'), {1, ''}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local priority, id = string.match(member, '^(%d) (.+)$')
  local stream, queue = KEYS[5 + tonumber(priority)], KEYS[15 + tonumber(priority)]
  local entry = redis.call('XRANGE', queue, id, id)[1]
  if entry then
    if redis.call('EXISTS', stream) == 0 then
      redis.call('XGROUP', 'CREATE', stream, ARGV[2], '0', 'MKSTREAM')
    end
    seq = seq + 1
    local at, kept = string.match(entry[2][2], '^%d+ %d+ (%d+)(.*)$')
    local place = string.format('%s %.0f %s', state[1], seq, at)
    redis.call('XADD', stream, '*', 'p', kept == '' and place or place .. ' s', 'e', entry[2][4])
    redis.call('XDEL', queue, id)
    if redis.call('XLEN', queue) == 0 then
      redis.call('DEL', queue)
      redis.call('SREM', KEYS[3], ARGV[4] .. ':' .. priority)
    end
    answer[#answer + 1] = tonumber(priority)
  end
  redis.call('ZREM', KEYS[4], member)
end
redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq))
local following = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
answer[2] = following[2] or ''
return answer
