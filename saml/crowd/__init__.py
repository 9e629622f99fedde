"""Many target speakers at once over one frozen base: a crowd.

A member of a crowd is a speaker, or one fold of a speaker. Each has adapters, routers, optimiser state, data
order, schedule and best epoch of its own; all share the base, and their batches go through it as one. What
comes of a member is what comes of adapting it alone, but for rounding, and for the random numbers that
dropout draws: in a batch of several they are others than alone. A crowd of one draws the same. Decoding takes
no random numbers: a crowd is heard as its members are alone.
"""
