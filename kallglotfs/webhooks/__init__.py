"""What the service tells by itself: signed deliveries, received over HTTP."""
