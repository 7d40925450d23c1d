"""What is known of recordings, and where that knowledge comes from."""
