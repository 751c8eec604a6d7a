-- Append events to one partition: deduplicate, number, and add one record batch per priority.
-- KEYS: pos, ids, outbox, lease, in:<p> for each priority that an event has, the highest first.
-- ARGV: backlog limit (events), deduplication window in ms, ids remembered at most, group, the number of partitions by
--       which the caller found this one, '1' when the events have to be stored before their publishers are answered,
--       this partition, the caller's token ('' when it is not the owner), the doorbells' channel without the owner's name,
--       the priorities of the streams, a digit each,
--       then per event: priority, dedup id ('' for none; the event's id when it has to be stored), body.
-- Returns {-1} when the backlog is full, {-2, number} when this partition uses a newer table, {-3} when no owner has
-- opened it since its data began (nothing was changed each time), else one 0 (appended) or 1 (duplicate) per event, and
-- behind them one text per entry that its owner is given: "<priority> <entry id> <entry before it> <field p>" when the
-- caller is the owner, else "<priority>": the doorbell has brought it, or has rung. The entry before it is the last one in
-- the stream, 0 when there is none: an owner that has read that has nothing else to read first.
-- To another owner's doorbell it publishes the entry, as router_node/log/redis_streams.py reads it, or, of what is too
-- large or does not follow on what the owner has read, "<partition> <priority>".
-- Batch entry: field 'p' = "<generation> <first sequence> <accepted at, us>" of its first event, and " s" when they have
-- to be stored; then one field 'e' per event; each further event is one sequence number and one microsecond on.
local pos, ids, outbox, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, window, most, group = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local kept, partition, caller, doorbells, levels = ARGV[6] == '1', ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local STREAMS, FIRST, BROUGHT_BYTES, FORGET_EACH = 4, 11, 16384, 16
local fields = {'gen', 'seq', 'settled', 'at', 'table', 'open'}
local LAST = #fields
for n = 1, #levels do
  fields[LAST + n] = 'last' .. string.sub(levels, n, n)
end
local state = redis.call('HMGET', pos, unpack(fields))
if tonumber(state[5] or '0') > tonumber(ARGV[5]) then
  return {-2, tonumber(state[5])}
end
if not state[6] then
  return {-3}
end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Each event has a time of its own, a microsecond after the one before at least: the store's order is the log's.
local at = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), tonumber(state[4] or '0') + 1)
local gen, seq, settled = state[1], tonumber(state[2] or '0'), tonumber(state[3] or '0')
if seq - settled >= limit then
  return {-1}
end
local answers, batches, named, asked, known, fresh = {}, {}, {}, {}, {}, {}
for i = FIRST, #ARGV, 3 do
  if ARGV[i + 1] ~= '' then
    asked[#asked + 1] = ARGV[i + 1]
  end
end
if #asked > 0 then
  for n, score in ipairs(redis.call('ZMSCORE', ids, unpack(asked))) do
    known[asked[n]] = score and tonumber(score) > now_ms - window
  end
end
for i = FIRST, #ARGV, 3 do
  local priority, id = tonumber(ARGV[i]), ARGV[i + 1]
  local duplicate = 0
  if known[id] then
    duplicate = 1
  elseif id ~= '' then
    known[id] = true
    fresh[#fresh + 1] = now_ms
    fresh[#fresh + 1] = id
  end
  answers[#answers + 1] = duplicate
  if duplicate == 0 then
    local batch = batches[priority]
    if not batch then
      batch = {}
      batches[priority] = batch
      named[priority] = {}
    end
    batch[#batch + 1] = 'e'
    batch[#batch + 1] = ARGV[i + 2]
    named[priority][#batch / 2] = id
  end
end
local owner, changes, before_seq = redis.call('GET', lease), {}, seq
local function bring(priority, id, before, first, batch)
  local size = 0
  for n = 2, #batch, 2 do
    size = size + #batch[n]
  end
  local brought = before and size <= BROUGHT_BYTES
  if owner == caller then
    if brought then
      answers[#answers + 1] = string.format('%d %s %s %s', priority, id, before, first)
    end
    return
  end
  answers[#answers + 1] = tostring(priority)
  local node, epoch = string.match(owner, '^(.*) (%d+)$')
  if not brought then
    redis.call('PUBLISH', doorbells .. node, partition .. ' ' .. priority)
    return
  end
  local sizes, bodies = {}, {}
  for n = 2, #batch, 2 do
    sizes[#sizes + 1] = #batch[n]
    bodies[#bodies + 1] = batch[n]
  end
  local head = table.concat({partition, priority, epoch, id, before, table.concat(sizes, ' ')}, ' ')
  redis.call('PUBLISH', doorbells .. node, head .. '\n' .. first .. '\n' .. table.concat(bodies))
end
for n = 1, #levels do
  local stream, last = KEYS[STREAMS + n], fields[LAST + n]
  local priority = tonumber(string.sub(levels, n, n))
  local batch = batches[priority]
  if batch then
    local before = '0'
    if redis.call('XLEN', stream) > 0 then
      before = state[LAST + n]
      if before and #redis.call('XRANGE', stream, '(' .. before, '+', 'COUNT', 1) > 0 then
        before = false -- a fence, or what was due or fed, is the last one
      end
    elseif redis.call('EXISTS', stream) == 0 then
      redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    end
    local first = string.format(kept and '%s %.0f %.0f s' or '%s %.0f %.0f', gen, seq + 1, at)
    local id = redis.call('XADD', stream, '*', 'p', first, unpack(batch))
    changes[#changes + 1] = last
    changes[#changes + 1] = id
    if owner then
      bring(priority, id, before, first, batch)
    end
    if kept then
      for n, id in ipairs(named[priority]) do
        redis.call('HSET', outbox, string.format('%.0f %s', at + n - 1, id), 1)
      end
    end
    seq = seq + #batch / 2
    at = at + #batch / 2
  end
end
redis.call('HSET', pos, 'seq', string.format('%.0f', seq), 'at', string.format('%.0f', at - 1), unpack(changes))
if #fresh > 0 then
  redis.call('ZADD', ids, unpack(fresh))
  redis.call('PEXPIRE', ids, window)
  if math.floor(seq / FORGET_EACH) > math.floor(before_seq / FORGET_EACH) then
    redis.call('ZREMRANGEBYSCORE', ids, '-inf', now_ms - window)
    redis.call('ZREMRANGEBYRANK', ids, 0, -most - 1)
  end
end
return answers
