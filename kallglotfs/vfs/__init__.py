"""What the mount looks like: names, the tree, open files."""
