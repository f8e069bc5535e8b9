"""What Redis does in one step: Lua scripts, each of which is all or nothing.

An entry has the fields `event`, `data` and `from`. The last is "<publisher> <counter> <id of the entry before>". By the
id a reader sees that it has missed nothing, without asking.

The epoch is the name of a consumer group. No consumer is ever in it. It stays when entries are trimmed, is replicated
and saved with the stream, and goes with it.
"""

_GROUP = """
local prefix = 'fastware-sse-'
local function epoch_of(key)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local name = group[2]
    if string.sub(name, 1, #prefix) == prefix then
      return string.sub(name, #prefix + 1)
    end
  end
end
"""

_INFO = """
local function info_of(key)
  local list, info = redis.call('XINFO', 'STREAM', key), {}
  for i = 1, #list, 2 do
    info[list[i]] = list[i + 1]
  end
  return info
end
"""

# KEYS: the stream. ARGV: an epoch, should it have none. Returns the epoch.
EPOCH = (
    _GROUP
    + """
local exists = redis.call('EXISTS', KEYS[1]) == 1
local found = exists and epoch_of(KEYS[1])
if found then
  return found
end
redis.call('XGROUP', 'CREATE', KEYS[1], prefix .. ARGV[1], '$', 'MKSTREAM')
return ARGV[1]
"""
)

# KEYS: the stream. ARGV: an epoch, and the one that is to follow it. Returns what it is now, or nil without a stream.
# It stays if it is not the first one any more: somebody else was here before.
RENEW = (
    _GROUP
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
local found = epoch_of(KEYS[1])
if found ~= ARGV[1] then
  return found or false
end
redis.call('XGROUP', 'DESTROY', KEYS[1], prefix .. found)
redis.call('XGROUP', 'CREATE', KEYS[1], prefix .. ARGV[2], '$')
return ARGV[2]
"""
)

# Since trimming begins with the oldest, an entry that is there vouches for all behind it. So does the newest that ever
# was, even if it was removed: there is nothing behind it. 0-0 is no entry: in its place stands that the oldest entry
# had none before it. If that is foreign, Redis 7 is asked how many there ever were.
_COVERS = (
    _GROUP
    + _INFO
    + """
local function covers(key, epoch, id)
  if redis.call('EXISTS', key) == 0 or epoch_of(key) ~= epoch then
    return false
  end
  if #redis.call('XRANGE', key, id, id) == 1 then
    return true
  end
  local info = info_of(key)
  if info['last-generated-id'] == id then
    return true
  end
  if id ~= '0-0' then
    return false
  end
  local first = info['first-entry']
  if first and first[2][5] == 'from' then
    return string.sub(first[2][6], -4) == ' 0-0'
  end
  return info['entries-added'] == info['length']
end
"""
)

# KEYS: the stream. ARGV: an epoch, the id of an entry. Returns 1, or nil if the stream has another epoch, or what was
# behind the entry may not all be there.
COVERS = (
    _COVERS
    + """
return covers(KEYS[1], ARGV[1], ARGV[2])
"""
)

# KEYS: the stream. ARGV: an epoch, the id of an entry, how many entries are wanted at most, and bytes at which they are
# enough. Returns nil as COVERS does; or 1 if the stream ends there, else 0, then the id of the last entry that was
# read, and then id, event and data of each: foreign ones are left out, but their bytes count.
#
# A script takes three times as long for an entry as XRANGE alone, but that knows of no bytes.
PAGE = (
    _COVERS
    + """
local key, n, room = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4])
if not covers(key, ARGV[1], ARGV[2]) then
  return false
end
local step, page = 16, {0, ARGV[2]}
repeat
  local found = redis.call('XRANGE', key, '(' .. page[2], '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    local fields, at = entry[2], #page
    page[2] = entry[1]
    if #fields == 6 and fields[1] == 'event' and fields[3] == 'data' and fields[5] == 'from' then
      page[at + 1], page[at + 2], page[at + 3] = entry[1], fields[2], fields[4]
      n = n - 1
    end
    for i = 1, #fields do
      room = room - #fields[i]
    end
    if n == 0 or room <= 0 then
      return page
    end
  end
until #found < step
page[1] = 1
return page
"""
)

# KEYS: the stream, and where the publisher's last counter is kept. ARGV: maxlen, seconds for which the counter is kept,
# the publisher, then counter, event and data of each. Returns the publisher's last counter, or nil without a stream.
#
# Memory is refused at the first XADD or not at all: Redis looks once, when the script begins.
PUBLISH = (
    _INFO
    + """
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then
  return false
end
local last = info_of(key)['last-generated-id']
local done = tonumber(redis.call('GET', KEYS[2]) or 0)
for i = 4, #ARGV, 3 do
  local counter = tonumber(ARGV[i])
  if counter > done then
    local from = ARGV[3] .. ' ' .. ARGV[i] .. ' ' .. last
    last = redis.call('XADD', key, 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*',
      'event', ARGV[i + 1], 'data', ARGV[i + 2], 'from', from)
    done = counter
  end
end
redis.call('SET', KEYS[2], string.format('%d', done), 'EX', ARGV[2])
return done
"""
)
