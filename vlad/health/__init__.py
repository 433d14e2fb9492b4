"""How well this computer and every part of the daemon is, and who is told when it is not.

The computer's thread measures and judges (monitor.py); the loop hands it the daemon's own figures once a
second, and takes what it found.
"""
