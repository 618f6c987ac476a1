"""Counters in memory that the processes of a server, or of a host, share.

mapping.py          memory that processes share: without a name, or as a file
creation_lock.py    one process at a time makes files
zone_files.py       where the files are, how they are named, which of them are stale
process_tree.py     which server a process was forked from
reservation.py      memory that a server makes before it forks
server.py           which memory the next RateLimit of a process gets
"""
