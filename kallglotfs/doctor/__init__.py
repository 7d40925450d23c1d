"""What is wrong with a set-up, and what mends it: checks that change nothing."""
