"""Files made from the program itself: man pages and completions. For developers, not part of a release's program."""
