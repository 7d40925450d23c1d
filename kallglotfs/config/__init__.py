"""What the user sets: the settings table, where values come from, mount options and the API key."""
