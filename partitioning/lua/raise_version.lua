-- Give the next version to something that changed. It never goes back, even when Redis has lost the last one.
-- KEYS: meta. ARGV: field. Returns the new version: max(last + 1, Redis time in ms).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local version = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') + 1, now)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', version))
return string.format('%.0f', version)
