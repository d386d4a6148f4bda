"""One model a file; each is headed by its command, the machine and time it took, and what to expect."""
