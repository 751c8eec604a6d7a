#!lua flags=allow-oom
-- A full Redis must not end ownership: what owners do next is to free its memory.
-- Take a partition's lease when it is free or ours, or find out who holds it.
-- KEYS: lease, epoch. ARGV: node id, lease in ms.
-- Returns {1, token} when taken, {0, token of the holder} otherwise. The token is "<node id> <epoch>"; the epoch is
-- max(last + 1, Redis time in ms), so that it never goes back, even after a fail-over that lost the last lease.
-- Membership lets one node live under an id, so what an earlier token of ours holds is ours to take again.
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^(.*) %d+$') ~= ARGV[1] then
  return {0, held}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, now)
local text = string.format('%.0f', epoch)
local token = ARGV[1] .. ' ' .. text
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return {1, token}
