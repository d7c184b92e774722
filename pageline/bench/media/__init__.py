"""The media path under load: how many calls one core holds, what a packet costs, and what becomes of the sound.

`run` decides what is measured. `probe` starts a stack, gives its media process a core of its own and rings; `consumers`
is the process that rings: Meta, Graph and the far end of every call.
"""
