"""The load generator: a process of its own that sends planned requests on time, and notes when each was answered.

It shares nothing with the server and judges nothing; what the times mean is the measures' business.
"""
