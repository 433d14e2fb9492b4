"""vlad-guard: a small process of its own that says stop when the daemon falls silent or talks nonsense.

It needs nothing but the standard library and pyzmq, and shares no code with what it watches but the reading
of settings. judge.py decides, process.py listens and speaks, relay.py holds the line that cuts the power.
"""
