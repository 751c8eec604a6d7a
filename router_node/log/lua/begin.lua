#!lua flags=allow-oom
-- A new owner begins with a partition: find out whether the log has lost data since the last one did.
-- KEYS: lease, pos. ARGV: token.
-- Returns {0} (and changes nothing) when the token is not the lease in force, else {1, generation, 1 when what the outbox
-- holds from older generations has still to be fed}. A partition without data begins a generation and stays closed to
-- appends until that is done, so that what was accepted before comes first. A server other than the one that had the
-- partition last (restarted, or promoted) may have lost the end of the data: it begins a generation too, and stays open.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local state = redis.call('HMGET', KEYS[2], 'gen', 'run', 'fed')
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local gen = state[1]
if not gen then
  gen = string.format('%.0f', now)
  redis.call('HSET', KEYS[2], 'gen', gen, 'run', run)
elseif state[2] ~= run then
  gen = string.format('%.0f', math.max(now, tonumber(gen) + 1))
  redis.call('HSET', KEYS[2], 'gen', gen, 'run', run, 'open', 1)
end
return {1, gen, state[3] == gen and 0 or 1}
