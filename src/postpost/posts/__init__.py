"""Post groups and platform posts: their text, settings, validation, states and storage."""
