"""Calibrating the measures of a policy's confidence on recorded episodes."""
