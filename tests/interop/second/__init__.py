"""A second node, in Python, written from docs/protocol.md and the standards that it names.

It joins a mesh by an invite token, logs in, publishes prekeys, seals and opens mail, settles, and verifies receipts and nacks.
Its state is in memory, and ends with it. It knows nothing of spaces, key rotation or a broker that has lost its store.
"""
