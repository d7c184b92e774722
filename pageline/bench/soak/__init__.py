"""`pageline bench soak`: an hour of short calls with real sound; memory, tasks, threads and descriptors stay flat.

Real processes, a simulated Meta whose phones speak and listen, one call after the other at a modest rate. Every process
is looked at again and again; the second quarter of the time is compared with the last. How to read it:
docs/performance.md.
"""
