"""The parts of a mount, put together: the only place that knows all of them."""
