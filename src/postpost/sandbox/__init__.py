"""Look-alikes of the platforms' HTTP APIs, kept in memory, with faults on demand."""
