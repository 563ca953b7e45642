-- Makes the marker of a tag, if there is none; answers 1 if it did. Begins without the guard of the others.

local epoch = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
return redis.call('HSETNX', KEYS[1], 'epoch', epoch)
