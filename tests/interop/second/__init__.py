"""A second node, in Python, written from docs/protocol.md and the standards that it names.

It joins a mesh by an invite token, logs in, publishes prekeys, seals and opens mail, settles, and verifies receipts and nacks.
Its state is in memory, and ends with it. Of spaces it knows how to say that it is there; it knows nothing of new keys of its own,
or of a broker that has lost its store.
"""
