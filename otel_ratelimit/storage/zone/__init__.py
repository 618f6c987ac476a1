"""`shared-memory://`: counters in a zone of memory that the processes of one host share.

store.py        how a request is counted in a zone, and what the zone reports about itself
slots.py        where a counter lies: hash buckets of eight slots
values.py       how the strategies' values fit into a slot
layout.py       the zone's parts and their offsets
head.py         the zone's head: whether a zone is ours, and its figures
journal.py      changes that are made as a whole, also if a process is killed in the middle
lock.py         the lock between processes
tables.py       the names of limits, and how many counters each has
overflow.py     where clients are counted when the zone is full
sweep.py        how the expired counters of a page are removed; sweeper.py calls it
figures.py      what a zone holds, for metrics and the API
"""
