"""Whether anybody could read or change what is not theirs: a file for each kind of thing."""
