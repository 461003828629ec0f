"""The command line: one file a command; reads arguments, calls the library, prints."""
