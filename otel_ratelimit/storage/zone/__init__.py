"""`shared-memory://`: counters in a zone of memory that the processes of one host share.

store.py            how a request is counted in a zone; quick_path.py does it for most requests
limits_adapter.py   the same store as a storage of `limits`; texts.py counts for it
uri.py              the parts of a URI, and what is wrong with them
opened.py           a zone that is open in this process, and changes of its counters
seats.py            where the new counters of one request go
slots.py            where a counter lies: hash buckets of eight slots
values.py           how the strategies' values fit into a slot
tables.py           the names of limits, and how many counters each has
overflow.py         where clients are counted when the zone is full
sweep.py            how the expired counters of a page are removed; sweeper.py calls it
processes.py        which processes share the zone; process_row.py is the row of this one
figures.py          size, counters, cleanups and processes, for metrics and the API

layout.py           the zone's parts and their offsets
head.py             the zone's head: whether a zone is ours, and its figures
journal.py          changes that are made as a whole, also if a process is killed in the middle
lock.py             the lock between processes
lock_holder.py      how a process gets the lock, and gives it back whatever happens

Where the memory comes from:
server.py           which memory the next RateLimit of a process gets
reservation.py      memory that a server makes before it forks
mapping.py          memory that processes share: without a name, or as a file
zone_files.py       where the files are, how they are named, which of them are stale
creation_lock.py    one process at a time makes files
examine.py          which memory a process would get; makes no zone
process_tree.py     which server a process was forked from
"""
