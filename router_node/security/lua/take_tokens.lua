-- Take tokens out of a bucket that fills up by Redis's own clock, and holds a second's worth, at least one.
-- KEYS[1]  hash: tokens, at (microseconds)
-- ARGV     rate (tokens a second), how many are wanted
-- Returns  how many were taken, from 0 to those wanted.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local size = math.max(1, rate)
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = size
if known[1] then
  tokens = math.min(size, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * rate / 1000000)
end
local taken = math.min(wanted, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens - taken), 'at', string.format('%.0f', now))
-- Once it would be full again, nothing needs to be known of it.
redis.call('PEXPIRE', KEYS[1], math.ceil(size / rate * 1000) + 1000)
return taken
