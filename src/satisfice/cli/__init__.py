"""The command line: one file per group of commands; each reads what was typed, calls the library, prints the result."""
