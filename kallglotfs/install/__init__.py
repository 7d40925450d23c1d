"""What the system needs besides the program: mount(8)'s link, units, man pages, completions."""
