"""Social accounts that PostPost may post to: connecting, refreshing, testing, their health."""
