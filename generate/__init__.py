"""Files made from the program itself, for developers: man pages, completions, the page of settings."""
